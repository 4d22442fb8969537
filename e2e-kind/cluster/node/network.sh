# shellcheck shell=bash
# The link between host and node, and the routes over it. Nothing in the node has a way to any other network.

HOST_LINK=oidcproxy0

network_start() {
  check_addresses_are_free
  # The kernel takes a dead node's link down a moment after it.
  ip link delete "$HOST_LINK" 2>/dev/null || true
  ip link add "$HOST_LINK" type veth peer name eth0 netns "$SANDBOX"
  ip address add "$HOST_IP/24" dev "$HOST_LINK"
  ip link set "$HOST_LINK" up
  local range
  for range in "$POD_CIDR" "$SERVICE_CIDR"; do
    ip route replace "$range" via "$NODE_IP" dev "$HOST_LINK" src "$HOST_IP"
  done
  # Behind those: when the node is gone, a client that still asks must not send packets to the real network.
  for range in "$POD_CIDR" "$SERVICE_CIDR" "$CLUSTER_NET.0/24"; do
    ip route replace unreachable "$range" metric 4096
  done

  # shellcheck disable=SC2016 # the inner shell expands it
  in_node sh -euc '
    ip link set lo up
    ip address add "$1/24" dev eth0
    ip link set eth0 up
    # A Service address needs a route before iptables rewrites it, for processes of the node too (webhooks called by
    # kube-apiserver). What no rule rewrites ends on this bridge without ports.
    ip link add services type bridge
    ip link set services up
    ip route add "$2" dev services src "$1"
    sysctl -qw net.ipv4.ip_forward=1
  ' network "$NODE_IP" "$SERVICE_CIDR"
}

# Another network of this machine with the same addresses would be cut off.
check_addresses_are_free() {
  local range route
  for range in "$CLUSTER_NET.0/24" "$POD_CIDR" "$SERVICE_CIDR"; do
    route=$(ip route show root "$range" | grep -v -e "dev $HOST_LINK" -e '^unreachable' || true)
    [[ -z $route ]] || die "this machine already routes $range ($route); for $CLUSTER_NET.0/24 set CLUSTER_NET, e.g. CLUSTER_NET=10.94.0"
  done
}

# Pods are on a bridge; the node's address is their gateway. No masquerading: the host knows the way back.
write_cni_config() {
  mkdir -p "$STATE_DIR/cni"
  cat >"$STATE_DIR/cni/10-pods.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "${POD_CIDR%.*/*}.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
}
