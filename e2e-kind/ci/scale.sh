#!/usr/bin/env bash
# A thousand OidcProxies on a control plane without a node, by the release binary. SCALE_RESOURCES, SCALE_IDLE_SECONDS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
KUBEBUILDER_ASSETS=$(e2e-kind/cluster/control-plane.sh assets)
OIDC_PROXY_OPERATOR_BIN=${OIDC_PROXY_OPERATOR_BIN:-${CARGO_TARGET_DIR:-$PWD/target}/release/oidc-proxy-operator}
export KUBEBUILDER_ASSETS OIDC_PROXY_OPERATOR_BIN
cargo test --locked --quiet -p oidcproxy-tests --test operator_scale -- --ignored --nocapture
