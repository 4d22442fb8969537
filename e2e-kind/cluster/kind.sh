# shellcheck shell=bash
# The cluster by kind, where a Docker engine answers. Sourced by cluster.sh.
#
# The project's own runs have no Docker engine and do not cover this: what it relies on is kind's documented behaviour.
# kind brings CoreDNS, and since v0.24 a CNI that enforces NetworkPolicy. KIND_IMAGE chooses another node image.

KIND_NODE=$KIND_CLUSTER-control-plane
KIND_IMAGE=${KIND_IMAGE:-kindest/node:$KUBERNETES_VERSION}

kind_admin() { "$CACHE_DIR/clients/36/kubectl" --kubeconfig "$ADMIN_KUBECONFIG" --request-timeout 5s "$@"; }

# kind_addresses: on a Docker network of its own; where there are several, the IPv4 one.
kind_addresses() {
  NODE_IP=$(docker inspect --format '{{.NetworkSettings.Networks.kind.IPAddress}}' "$KIND_NODE")
  # shellcheck disable=SC2034 # cluster.sh writes it down
  HOST_IP=$(docker network inspect --format '{{range .IPAM.Config}}{{.Gateway}}{{"\n"}}{{end}}' kind | grep -m 1 -F .)
}

# The program of modules/kind, whatever else the machine has.
kind() { "$BIN_DIR/kind" "$@"; }

kind_healthy() {
  [[ -f $ENV_FILE && -f $ADMIN_KUBECONFIG ]] || return 1
  kind get clusters 2>/dev/null | grep -qx "$KIND_CLUSTER" || return 1
  kind_admin get --raw /readyz >/dev/null 2>&1 && kind_addresses
}

kind_up() {
  source "$CLUSTER_DIR/packages.sh"
  source "$CLUSTER_DIR/images/node-images.sh"
  need_packages openssl:openssl python3:python3 curl:curl
  mkdir -p "$BIN_DIR" "$CACHE_DIR/logs" "$CACHE_DIR/images" "$LOG_DIR"
  "$CLUSTER_DIR/clients.sh"
  "$CLUSTER_DIR/build.sh" kind
  kind_down
  mkdir -p "$LOG_DIR"
  cat >"$STATE_DIR/kind.yaml" <<YAML
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
name: $KIND_CLUSTER
networking: {ipFamily: ipv4, podSubnet: $POD_CIDR, serviceSubnet: $SERVICE_CIDR}
nodes: [{role: control-plane}]
YAML
  long_step "creating a kind cluster" "$LOG_DIR/kind.log" \
    kind create cluster --config "$STATE_DIR/kind.yaml" --image "$KIND_IMAGE" --kubeconfig "$ADMIN_KUBECONFIG" --wait 180s
  kind_addresses
  kind_routes
  pack_tools_image
  kind_load_image "$CACHE_DIR/images/tools.tar"
}

# Tests on this machine reach Services and pods through the node.
kind_routes() {
  local range as_root=()
  [[ $(id -u) == 0 ]] || as_root=(sudo)
  for range in "$POD_CIDR" "$SERVICE_CIDR"; do
    "${as_root[@]}" ip route replace "$range" via "$NODE_IP" ||
      die "no route to $range: run as root: ip route replace $range via $NODE_IP"
  done
}

kind_down() {
  local range as_root=()
  [[ $(id -u) == 0 ]] || as_root=(sudo)
  for range in "$POD_CIDR" "$SERVICE_CIDR"; do
    [[ -z $(ip route show exact "$range") ]] || "${as_root[@]}" ip route delete "$range" || true
  done
  if [[ -x $BIN_DIR/kind ]] && kind get clusters 2>/dev/null | grep -qx "$KIND_CLUSTER"; then
    kind delete cluster --name "$KIND_CLUSTER" >/dev/null 2>&1
  fi
  [[ ! -d $STATE_DIR ]] || find "$STATE_DIR" -mindepth 1 -maxdepth 1 ! -path "$ISSUER_DIR" -exec rm -rf {} +
}

kind_load_image() { kind load image-archive "$1" --name "$KIND_CLUSTER"; }
