#!/usr/bin/env bash
# The test cluster. usage: cluster.sh up|down|status|load IMAGE.tar
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
source "$CLUSTER_DIR/progress.sh"

# provider: kind where a Docker engine answers, else a node without Docker. CLUSTER_PROVIDER=node|kind decides otherwise.
provider() {
  local chosen=${CLUSTER_PROVIDER:-}
  [[ -n $chosen ]] || chosen=$(sed -n 's/^CLUSTER_PROVIDER=//p' "$ENV_FILE" 2>/dev/null || true)
  if [[ -z $chosen ]]; then
    chosen=node
    # A docker command alone says nothing: its engine must answer.
    if timeout 10 docker info >/dev/null 2>&1; then chosen=kind; fi
  fi
  [[ $chosen == node || $chosen == kind ]] || die "CLUSTER_PROVIDER is node or kind, not $chosen"
  echo "$chosen"
}

# One command at a time: the cluster is one per machine.
lock() {
  local dir=/run/lock
  [[ -w $dir ]] || dir=${TMPDIR:-/tmp}
  exec 9>"$dir/oidcproxy-cluster.lock"
  flock -n 9 || { say "waiting for another cluster command to end"; flock 9; }
}

write_env() {
  local clients=$CACHE_DIR/clients
  {
    echo '# The running test cluster: source it. Written by cluster.sh; the lines ISSUER* by issuer.sh.'
    printf '%s=%q\n' CLUSTER_PROVIDER "$PROVIDER" KUBECONFIG "$ADMIN_KUBECONFIG" \
      KUBECTL "$clients/36/kubectl" HELM "$clients/36/helm" KUBECTL_SPDY "$clients/28/kubectl" HELM3 "$clients/28/helm" \
      NODE_IP "$NODE_IP" HOST_IP "$HOST_IP" POD_CIDR "$POD_CIDR" SERVICE_CIDR "$SERVICE_CIDR" \
      TOOLS_IMAGE "$TOOLS_IMAGE" OPERATOR_IMAGE "$OPERATOR_IMAGE" PROXY_IMAGE "$PROXY_IMAGE"
    echo "# Takes the path of an image archive."
    echo "IMAGE_LOAD='$CLUSTER_DIR/cluster.sh load'"
    # The issuer outlives a cluster.
    cat "$ISSUER_DIR/env" 2>/dev/null || true
  } >"$ENV_FILE.new"
  mv "$ENV_FILE.new" "$ENV_FILE"
}

main() {
  local command=${1:-}
  PROVIDER=$(provider)
  # shellcheck source-path=SCRIPTDIR source=node.sh
  source "$CLUSTER_DIR/$PROVIDER.sh"
  case $command in
    up)
      lock
      if "${PROVIDER}_healthy"; then
        say "the cluster is up (provider $PROVIDER): export KUBECONFIG=$ADMIN_KUBECONFIG"
        return
      fi
      "${PROVIDER}_up"
      write_env
      say "the cluster is ready (provider $PROVIDER): export KUBECONFIG=$ADMIN_KUBECONFIG"
      ;;
    down)
      lock
      "${PROVIDER}_down"
      say "the cluster is gone"
      ;;
    status) "${PROVIDER}_healthy" ;;
    load)
      [[ -f ${2:-} ]] || die "usage: cluster.sh load IMAGE.tar"
      "${PROVIDER}_healthy" || die "no healthy cluster: run make cluster"
      "${PROVIDER}_load_image" "$2"
      ;;
    *) die "usage: cluster.sh up|down|status|load IMAGE.tar" ;;
  esac
}

main "$@"
