#!/usr/bin/env bash
# The black-box suites that need nothing but the binary.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source e2e-kind/ci/suites.sh
suites_of black-box
# Most of them wait for something most of the time.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-4}
cargo test --no-fail-fast --locked --quiet -p oidcproxy-tests --lib --bins "${suites[@]}"
