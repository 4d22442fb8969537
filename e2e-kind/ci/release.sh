#!/usr/bin/env bash
# The binary that the images carry: what it makes of tokens, configurations and requests beside kube-apiserver, and how
# soon it starts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source e2e-kind/ci/suites.sh
suites_of release
# The same build as that of the images: what is there already is not made again.
cargo build --locked --quiet --release \
  -p oidc-proxy-operator --bin oidc-proxy-operator -p oidc-proxy --bin oidc-proxy
OIDC_PROXY_BIN=${CARGO_TARGET_DIR:-$PWD/target}/release/oidc-proxy \
  cargo test --locked --quiet -p oidcproxy-tests "${suites[@]}" -- --nocapture
