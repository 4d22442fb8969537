#!/usr/bin/env bash
# Checks that the running cluster can do what the tests and the demo need. usage: check.sh
# One line for each fact; the first one that does not hold ends it with a non-zero code.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
source "$CLUSTER_DIR/progress.sh"
[[ -f $ENV_FILE ]] || die "no cluster is running: run make cluster"
# shellcheck source=/dev/null
source "$ENV_FILE"
export KUBECONFIG

NAMESPACE=cluster-check-$$
WORK=$(mktemp -d)
HELPERS=()

clean() {
  local pid
  for pid in "${HELPERS[@]}"; do kill "$pid" 2>/dev/null || true; done
  "$KUBECTL" delete namespace "$NAMESPACE" --wait=false --ignore-not-found >/dev/null 2>&1 || true
  rm -rf "$WORK"
}
trap clean EXIT

k() { "$KUBECTL" --namespace "$NAMESPACE" "$@"; }
k_spdy() { "$KUBECTL_SPDY" --namespace "$NAMESPACE" "$@"; }
in_pod() { k exec "$1" -- "${@:2}"; }

# check WHAT COMMAND...: it must succeed within 15 s; policies and endpoints take a moment to reach the node.
check() {
  local what=$1 limit=$((SECONDS + 15))
  shift
  until "$@" >"$WORK/output" 2>&1; do
    if ((SECONDS >= limit)); then
      sed 's/^/    /' "$WORK/output" >&2
      die "check failed: $what"
    fi
    sleep 0.2
  done
  say "ok: $what"
}

says() { [[ $("${@:2}") == *"$1"* ]]; }
refused() { ! "$@"; }

get_hello() { curl --silent --fail --noproxy '*' --max-time 3 "http://$1/hello"; }
reach() { in_pod "$1" nc -w 2 "$2" "$3" -e true; }

rejected_pod() {
  local answer
  ! answer=$(k run root --image "$TOOLS_IMAGE" --dry-run=server --privileged 2>&1) && [[ $answer == *"violates PodSecurity"* ]]
}

# forwarded CLIENT: through a port of this host that kubectl chooses.
forwarded() {
  local port pid log=$WORK/forward.log answer=0
  : >"$log"
  "$1" port-forward service/server :80 >"$log" 2>&1 &
  pid=$!
  wait_until 5 "a line of port-forward" grep -q Forwarding "$log"
  port=$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\).*/\1/p' "$log")
  says hello get_hello "127.0.0.1:$port" || answer=1
  kill "$pid"
  wait "$pid" 2>/dev/null || true
  return $answer
}

# copied CLIENT: there and back.
copied() {
  echo "for $1" >"$WORK/there"
  "$1" cp "$WORK/there" server:/tmp/there && "$1" cp server:/tmp/there "$WORK/back" && cmp "$WORK/there" "$WORK/back"
}

token_of_pod() {
  says "system:serviceaccount:$NAMESPACE:default" "$KUBECTL" auth whoami --server "$(api_server)" \
    --kubeconfig /dev/null --certificate-authority <(k config view --raw -o 'jsonpath={.clusters[0].cluster.certificate-authority-data}' | base64 -d) \
    --token "$(in_pod server cat /var/run/token/token)"
}

api_server() { k config view -o 'jsonpath={.clusters[0].cluster.server}'; }

resolves() { says "$(k get service server -o 'jsonpath={.spec.clusterIP}')" in_pod "$1" nslookup "server.$NAMESPACE.svc.cluster.local"; }

host_listener() {
  python3 -u -m http.server --bind "$HOST_IP" --directory "$WORK" 0 >"$WORK/listener" 2>&1 &
  HELPERS+=($!)
  wait_until 5 "a listener of this host" grep -q 'port' "$WORK/listener"
  LISTENER=$(sed -n 's/.* port \([0-9]*\).*/\1/p' "$WORK/listener")
}

main() {
  check "the API server is $KUBERNETES_VERSION" says "$KUBERNETES_VERSION" k get --raw /version
  k create namespace "$NAMESPACE" >/dev/null
  k label namespace "$NAMESPACE" pod-security.kubernetes.io/enforce=restricted >/dev/null
  check "Pod Security refuses a privileged pod" rejected_pod
  wait_until 15 "the ServiceAccount of the namespace" k get serviceaccount/default configmap/kube-root-ca.crt
  k apply -f "$CLUSTER_DIR/check/pods.yaml" >/dev/null
  k wait --for=condition=Ready pod --all --timeout 30s >/dev/null || die "check failed: restricted pods get Ready"
  say "ok: restricted pods with a read-only root and a projected token are Ready"

  local service
  service=$(k get service server -o 'jsonpath={.spec.clusterIP}')
  check "exec over WebSocket (kubectl 1.36)" says uid=65532 k exec server -- id
  check "exec over SPDY (kubectl 1.28)" says uid=65532 k_spdy exec server -- id
  check "logs" says started k logs server
  check "port-forward with kubectl 1.36" forwarded k
  check "port-forward with kubectl 1.28" forwarded k_spdy
  check "cp with kubectl 1.36" copied k
  check "cp with kubectl 1.28" copied k_spdy
  check "the API server takes the pod's projected token" token_of_pod
  check "a Service from the host" says hello get_hello "$service"
  check "a Service from a pod" reach stranger "$service" 80
  check "the API's Service from a pod" reach stranger "$API_SERVICE_IP" 443
  check "names from a pod" resolves stranger
  host_listener
  check "a process of the host from a pod" reach stranger "$HOST_IP" "$LISTENER"

  k apply -f "$CLUSTER_DIR/check/policies.yaml" >/dev/null
  check "NetworkPolicy refuses a stranger's connection" refused reach stranger "$service" 80
  check "NetworkPolicy lets a friend in" reach friend "$service" 80
  check "NetworkPolicy refuses egress to the server" refused reach caged "$service" 80
  check "NetworkPolicy refuses egress to the host" refused reach caged "$HOST_IP" "$LISTENER"
  check "NetworkPolicy allows egress to cluster DNS" resolves caged
  check "Helm 4 and Helm 3 reach the API" helms
  say "all checks passed"
}

helms() { "$HELM" list --namespace "$NAMESPACE" && "$HELM3" list --namespace "$NAMESPACE"; }

main
