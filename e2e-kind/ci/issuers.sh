#!/usr/bin/env bash
# The suite with issuers that others wrote: installs Keycloak and oidc-provider into the cache and runs it. No cluster.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source e2e-kind/ci/suites.sh
source e2e-kind/cluster/settings.sh
source e2e-kind/cluster/progress.sh
source e2e-kind/cluster/packages.sh
source e2e-kind/cluster/issuers/keycloak.sh
source e2e-kind/cluster/issuers/oidc-provider.sh
mkdir -p "$CACHE_DIR/logs"
need_packages python3:python3
keycloak_prepare
oidc_provider_prepare
export KEYCLOAK_HOME OIDC_PROVIDER_DIR
suites_of issuers
cargo test --locked --quiet -p oidcproxy-tests "${suites[@]}" "$@"
