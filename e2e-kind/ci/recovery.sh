#!/usr/bin/env bash
# Ends the test cluster without notice, a part of it and then all of it, and starts it again. usage: recovery.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../cluster/settings.sh"
source "$CLUSTER_DIR/progress.sh"
source "$CLUSTER_DIR/node/sandbox.sh"

"$CLUSTER_DIR/cluster.sh" up
provider=$(sed -n 's/^CLUSTER_PROVIDER=//p' "$ENV_FILE")
if [[ $provider != node ]]; then
  say "not tried with the provider $provider: its node is another program's"
  exit 0
fi

comes_back() {
  ! "$CLUSTER_DIR/cluster.sh" status || die "the cluster counts as healthy without $1"
  "$CLUSTER_DIR/cluster.sh" up
  "$CLUSTER_DIR/check.sh"
  say "it came back after the end of $1"
}

admin() { "$CACHE_DIR/clients/36/kubectl" --kubeconfig "$ADMIN_KUBECONFIG" "$@"; }

# The objects outlive it: only processes are gone.
admin create configmap recovery -n default --dry-run=client -o yaml | admin apply -f - >/dev/null
for name in etcd kubelet containerd; do
  read -r pid started <"$STATE_DIR/pids/$name"
  [[ $(start_time "$pid") == "$started" ]] || die "$name does not run"
  kill -KILL "$pid"
done
comes_back "etcd, kubelet and containerd"
admin get configmap recovery -n default >/dev/null || die "the cluster was made anew, for a part that was missing"

init=$(sandbox_pid)
[[ $(sandbox_owner "$init") == "$STATE_DIR" ]] || die "the cluster of another checkout runs"
kill -KILL "$init"
comes_back "everything"
