# shellcheck shell=bash
# The cluster without Docker: one real Kubernetes node in namespaces of its own (node/sandbox.sh). Sourced by cluster.sh.
source "$CLUSTER_DIR/packages.sh"
source "$CLUSTER_DIR/images/node-images.sh"
source "$CLUSTER_DIR/node/sandbox.sh"
source "$CLUSTER_DIR/node/network.sh"
source "$CLUSTER_DIR/node/pki.sh"
source "$CLUSTER_DIR/node/control-plane.sh"
source "$CLUSTER_DIR/node/worker.sh"

NODE_DAEMONS=(etcd kube-apiserver containerd kube-controller-manager kube-scheduler kubelet kube-proxy netpol)

admin() { "$CACHE_DIR/clients/36/kubectl" --kubeconfig "$ADMIN_KUBECONFIG" --request-timeout 5s "$@"; }

# node_healthy: it is ours, everything in it runs, and a pod could be scheduled and find names.
node_healthy() {
  local name
  SANDBOX=$(sandbox_pid) || return 1
  [[ $(sandbox_owner "$SANDBOX") == "$STATE_DIR" && -f $ENV_FILE ]] || return 1
  for name in "${NODE_DAEMONS[@]}"; do daemon_alive "$name" || return 1; done
  cluster_ready
}

cluster_ready() {
  local ready
  ready=$(admin get "node/$NODE_NAME" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null) &&
    [[ $ready == True ]] &&
    ready=$(admin -n kube-system get deployment/coredns -o 'jsonpath={.status.availableReplicas}' 2>/dev/null) &&
    [[ $ready == 1 ]]
}

node_up() {
  [[ $(uname -s) == Linux && $(id -u) == 0 ]] ||
    die "without a Docker engine, the cluster is a node on this machine: that needs Linux and root"
  node_install
  # A node that only lost some of its processes keeps its objects; one that is gone or broken is made anew.
  if SANDBOX=$(sandbox_pid) && [[ $(sandbox_owner "$SANDBOX") == "$STATE_DIR" && -f $ENV_FILE ]]; then
    say "the node lost a part; starting it again"
    # Not in the condition's place would set -e end all of it; its steps end themselves where it matters.
    (node_start) && return
    say "that was not enough"
  fi
  node_down
  node_start
}

node_install() {
  mkdir -p "$BIN_DIR" "$CACHE_DIR/logs"
  need_packages runc:runc iptables:iptables ipset:ipset conntrack:conntrack ip:iproute2 nsenter:util-linux \
    openssl:openssl cc:build-essential python3:python3 curl:curl
  "$CLUSTER_DIR/clients.sh" &
  local clients=$!
  "$CLUSTER_DIR/build.sh" all
  wait "$clients" || die "kubectl and Helm could not be installed; see $CACHE_DIR/logs"
  pack_node_images
}

# Each part of it does nothing when it is done already.
node_start() {
  mkdir -p "$LOG_DIR" "$STATE_DIR/pids" "$STATE_DIR/disk"
  write_pki
  if ! SANDBOX=$(sandbox_pid); then
    sandbox_start
    network_start
  fi
  containerd_start
  control_plane_start
  wait_until 60 "an answer of kube-apiserver" admin get --raw /readyz
  say "kube-apiserver answers"
  controllers_start
  kubelet_start
  load_node_images
  admin apply --server-side --force-conflicts -f "$CLUSTER_DIR/node/dns.yaml" >/dev/null
  wait_until 30 "the kubelet's registration" admin get "node/$NODE_NAME"
  services_start
  local limit=$((SECONDS + 90)) name
  until cluster_ready; do
    for name in "${NODE_DAEMONS[@]}"; do
      daemon_alive "$name" || die "$name ended: $(tail -n 1 "$LOG_DIR/$name.log") (log: $LOG_DIR/$name.log)"
    done
    ((SECONDS < limit)) || die "the node or its DNS does not get ready; see $LOG_DIR and: kubectl -n kube-system describe pods"
    sleep 0.2
  done
  wait_until 30 "the ServiceAccount of namespace default" admin get serviceaccount default
}

load_node_images() {
  local image
  wait_until 30 "an answer of containerd" ctr_node version
  for image in "${NODE_IMAGES[@]}"; do
    ctr_node images import - <"$CACHE_DIR/images/$image.tar" >>"$LOG_DIR/images.log" 2>&1 ||
      die "containerd refused the image $image; see $LOG_DIR/images.log"
  done
}

node_down() {
  local init owner
  if init=$(sandbox_pid); then
    owner=$(sandbox_owner "$init")
    [[ $owner == "$STATE_DIR" ]] || say "ending the cluster of another checkout ($owner): a machine has one"
    sandbox_stop
  fi
  ip link delete "$HOST_LINK" 2>/dev/null || true
  cgroup_remove
  remove_state
}

# Issuers live on: their folder stays.
remove_state() {
  [[ -d $STATE_DIR ]] || return 0
  find "$STATE_DIR" -mindepth 1 -maxdepth 1 ! -path "$ISSUER_DIR" -exec rm -rf {} +
}

node_load_image() {
  local old
  ctr_node images import - <"$1" >>"$LOG_DIR/images.log" 2>&1 || die "containerd refused $1; see $LOG_DIR/images.log"
  # A tag that moved leaves the old image behind under its digest alone; running containers keep what they use of it.
  ctr_node images ls 2>/dev/null | awk 'NR == 1 {next} $1 ~ /^sha256:/ {old[$1] = $3; next} {tagged[$3]}
    END {for (name in old) if (!(old[name] in tagged)) print name}' |
    while read -r old; do ctr_node images rm "$old" </dev/null >>"$LOG_DIR/images.log" 2>&1; done
}
