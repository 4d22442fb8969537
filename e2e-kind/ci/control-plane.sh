#!/usr/bin/env bash
# The suites against a real kube-apiserver and etcd, which each test binary starts for itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source e2e-kind/ci/suites.sh
# Set: programs of another version, see matrix.sh.
KUBEBUILDER_ASSETS=${KUBEBUILDER_ASSETS:-$(e2e-kind/cluster/control-plane.sh assets)}
export KUBEBUILDER_ASSETS
# Two suites run the operator's own binary.
cargo build --locked --quiet -p oidc-proxy-operator
suites_of control-plane
# They wait for an operator, a Lease or a clock, and hardly ever for the processor.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-8}
cargo test --locked --quiet -p oidcproxy-tests "${suites[@]}"
# What GitOps tools make of recorded statuses.
(cd e2e-kind/cluster/modules/gitops-status && CGO_ENABLED=0 go test ./...)
