#!/usr/bin/env bash
# The proxy with its traces. Cargo keeps both builds side by side in one target folder, so only what differs is compiled;
# the binary without them is put back in its place.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
target=${CARGO_TARGET_DIR:-target}
cargo build --locked --quiet -p oidc-proxy --features otel
install -D "$target/debug/oidc-proxy" "$target/debug/otel/oidc-proxy"
cargo build --locked --quiet -p oidc-proxy
cargo test --locked --quiet -p oidc-proxy --features otel --lib traces::
OIDC_PROXY_BIN=$PWD/$target/debug/otel/oidc-proxy
[[ $target == /* ]] && OIDC_PROXY_BIN=$target/debug/otel/oidc-proxy
export OIDC_PROXY_BIN
cargo test --locked --quiet -p oidcproxy-tests --test traces
