#!/usr/bin/env bash
# A release of an older build, upgraded to this one while requests go on. There are no published releases yet, so the older
# one is a commit of this repository, with its own chart and images. usage: UPGRADE_FROM=COMMIT upgrade.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source e2e-kind/cluster/settings.sh
source e2e-kind/cluster/progress.sh

older=$REPO_DIR/target/older
from=$(git rev-parse --verify --quiet "${UPGRADE_FROM:-HEAD~20}^{commit}") ||
  die "there is no commit ${UPGRADE_FROM:-HEAD~20} here: set UPGRADE_FROM, or fetch the history"
say "the older build is $(git log -1 --format='%h of %cs, %s' "$from")"
if [[ $(cat "$older/commit" 2>/dev/null) != "$from" ]]; then
  rm -rf "$older/source"
  mkdir -p "$older/source"
  git archive "$from" | tar -x -C "$older/source"
  echo "$from" >"$older/commit"
fi
long_step "building the older binaries" "$CACHE_DIR/logs/build-older.log" \
  cargo build --locked --release --manifest-path "$older/source/Cargo.toml" --target-dir "$older/target" \
  -p oidc-proxy-operator --bin oidc-proxy-operator -p oidc-proxy --bin oidc-proxy
IMAGE_TAG=older IMAGE_DOCKERFILES=$older/source IMAGE_BINARIES=$older/target/release e2e-kind/cluster/images.sh

E2E_OLDER_CHART=$older/source/charts/oidc-proxy-operator E2E_OLDER_TAG=older \
  cargo test --locked -p oidcproxy-e2e --test upgrade -- --ignored --nocapture
