#!/usr/bin/env bash
# What kube-apiserver makes of tokens, configurations and requests, played against the binary that the images carry.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# The same build as that of the images: what is there already is not made again.
cargo build --locked --quiet --release \
  -p oidc-proxy-operator --bin oidc-proxy-operator -p oidc-proxy --bin oidc-proxy
OIDC_PROXY_BIN=${CARGO_TARGET_DIR:-$PWD/target}/release/oidc-proxy \
  cargo test --locked --quiet -p oidcproxy-tests --test vectors -- --nocapture
