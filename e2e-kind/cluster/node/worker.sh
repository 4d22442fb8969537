# shellcheck shell=bash
# containerd, kubelet, kube-proxy and NetworkPolicy enforcement, as processes of the node. Paths are those inside it.

CGROUP=oidcproxy
CONTAINERD_SOCKET=/run/containerd/containerd.sock

containerd_start() {
  cat >"$STATE_DIR/containerd.toml" <<TOML
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "$CONTAINERD_SOCKET"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "$PAUSE_IMAGE"
[plugins.'io.containerd.cri.v1.runtime']
  # A machine may forbid to lower oom_score_adj, and runc would fail on it.
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["$NODE_BIN/cni"]
    conf_dir = "$NODE_STATE/cni"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = false
TOML
  write_cni_config
  daemon containerd "$NODE_BIN/node/containerd" --config "$NODE_STATE/containerd.toml" --log-level warn
}

# ctr_node ARGUMENT...: containerd's client. Images go in through its standard input: paths differ inside.
ctr_node() { in_node "$NODE_BIN/node/ctr" --address "$CONTAINERD_SOCKET" --namespace k8s.io "$@"; }

kubelet_start() {
  local pki=$NODE_STATE/pki
  cgroup_create
  # Images are loaded by hand, so nothing may collect them, however full the disk is.
  cat >"$STATE_DIR/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: "$pki/kubelet.crt"
tlsPrivateKeyFile: "$pki/kubelet.key"
clusterDNS: [$DNS_SERVICE_IP]
clusterDomain: cluster.local
resolvConf: ""
# How soon a changed Secret is in a pod; the default is a minute.
syncFrequency: 10s
containerRuntimeEndpoint: unix://$CONTAINERD_SOCKET
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP
failCgroupV1: false
failSwapOn: false
volumePluginDir: /var/lib/kubelet/volume-plugins
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}
YAML
  daemon kubelet "$NODE_BIN/node/kubelet" --kubeconfig "$pki/kubelet.kubeconfig" --config "$NODE_STATE/kubelet.yaml" \
    --hostname-override "$NODE_NAME" --node-ip "$NODE_IP"
}

services_start() {
  local admin=$NODE_STATE/pki/admin.kubeconfig
  # Connection tracking stays as the machine has it: its size belongs to the host, not to a network namespace.
  daemon kube-proxy "$NODE_BIN/node/kube-proxy" --kubeconfig "$admin" --hostname-override "$NODE_NAME" \
    --cluster-cidr "$POD_CIDR" --proxy-mode iptables --conntrack-max-per-core 0 --conntrack-min 0 \
    --conntrack-tcp-timeout-established 0 --conntrack-tcp-timeout-close-wait 0
  daemon netpol "$NODE_BIN/node/netpol" --kubeconfig "$admin" --node "$NODE_NAME" --service-cluster-ip-range "$SERVICE_CIDR"
}

# Pods get a cgroup of their own name, in each hierarchy where the machine has several (cgroup v1).
cgroup_create() {
  local top
  while read -r top; do
    mkdir -p "$top/$CGROUP"
    # A cpuset without processors takes no process.
    if [[ -f $top/$CGROUP/cpuset.cpus && -f $top/cpuset.mems ]]; then
      cat "$top/cpuset.cpus" >"$top/$CGROUP/cpuset.cpus"
      cat "$top/cpuset.mems" >"$top/$CGROUP/cpuset.mems"
    fi
  done < <(awk '$3 == "cgroup" || $3 == "cgroup2" {print $2}' /proc/mounts)
}

cgroup_remove() {
  local top
  while read -r top; do
    [[ ! -d $top/$CGROUP ]] || find "$top/$CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done < <(awk '$3 == "cgroup" || $3 == "cgroup2" {print $2}' /proc/mounts)
}
