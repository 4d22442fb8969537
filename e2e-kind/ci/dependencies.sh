#!/usr/bin/env bash
# The rules of deny.toml. Advisories need a database from the network and are checked where there is one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source e2e-kind/cluster/settings.sh
source e2e-kind/cluster/progress.sh
version=0.20.2
deny=$CACHE_DIR/cargo-deny/bin/cargo-deny
if [[ $("$deny" --version 2>/dev/null) != "cargo-deny $version" ]]; then
  mkdir -p "$CACHE_DIR/logs"
  long_step "installing cargo-deny $version" "$CACHE_DIR/logs/cargo-deny.log" \
    cargo install --locked --quiet --root "$CACHE_DIR/cargo-deny" --version "$version" cargo-deny
fi
"$deny" --all-features check --hide-inclusion-graph bans licenses sources
