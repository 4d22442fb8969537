# shellcheck shell=bash
# The small issuer of our own (tests/src/bin/test-issuer.rs). A user's password is the name.

# Another cargo profile saves a build where its dependencies are compiled already (TEST_ISSUER_PROFILE=dev).
TEST_ISSUER_PROFILE=${TEST_ISSUER_PROFILE:-release}

test_prepare() {
  long_step "building test-issuer" "$CACHE_DIR/logs/build-test-issuer.log" \
    cargo build --manifest-path "$REPO_DIR/Cargo.toml" --profile "$TEST_ISSUER_PROFILE" -p oidcproxy-tests --bin test-issuer
}

test_program() {
  local folder=$TEST_ISSUER_PROFILE
  [[ $folder != dev ]] || folder=debug
  echo "${CARGO_TARGET_DIR:-$REPO_DIR/target}/$folder/test-issuer"
}

test_version() { cat "$(test_program)" "$ISSUER_DIR/tls.crt" | sha256sum; }

test_start() {
  # A copy: cargo may replace the program while it runs.
  cp "$(test_program)" "$ISSUER_DIR/test-issuer"
  start_issuer test "$ISSUER_DIR/test-issuer" --listen "$HOST_IP:$TEST_ISSUER_PORT" --issuer-url "$(issuer_url test)" \
    --tls-cert "$ISSUER_DIR/tls.crt" --tls-key "$ISSUER_DIR/tls.key" --client-id "$ISSUER_CLIENT_ID" \
    --user alice:dev,ops --user bob:guests
}
