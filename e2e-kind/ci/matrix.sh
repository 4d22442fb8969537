#!/usr/bin/env bash
# The control-plane suites against other versions of Kubernetes. usage: matrix.sh VERSION...    (as 1.31.0)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
failed=()
for version in "$@"; do
  assets=$(e2e-kind/cluster/other-versions.sh "$version")
  echo "== Kubernetes $version"
  KUBEBUILDER_ASSETS=$assets e2e-kind/ci/control-plane.sh || failed+=("$version")
done
((${#failed[@]} == 0)) || { echo "failed with Kubernetes ${failed[*]}" >&2; exit 1; }
echo "passed with Kubernetes $*"
