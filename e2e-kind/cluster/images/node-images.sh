# shellcheck shell=bash
# The images that the node needs before ours: pause, CoreDNS, and the tools that tests run in pods.

# shellcheck disable=SC2034 # node.sh loads them
NODE_IMAGES=(pause coredns tools)

pack_node_images() {
  local pack=$CLUSTER_DIR/images/pack.py out=$CACHE_DIR/images
  mkdir -p "$out"
  if [[ ! -x $BIN_DIR/pause || $CLUSTER_DIR/images/pause.c -nt $BIN_DIR/pause ]]; then
    cc -static -Os -o "$BIN_DIR/pause" "$CLUSTER_DIR/images/pause.c"
  fi
  [[ $out/pause.tar -nt $BIN_DIR/pause ]] ||
    python3 "$pack" "$out/pause.tar" "$PAUSE_IMAGE" /pause "/pause=$BIN_DIR/pause"
  [[ $out/coredns.tar -nt $BIN_DIR/node/coredns ]] ||
    python3 "$pack" "$out/coredns.tar" "$COREDNS_IMAGE" /coredns "/coredns=$BIN_DIR/node/coredns"
  pack_tools_image
}

pack_tools_image() {
  local pack=$CLUSTER_DIR/images/pack.py out=$CACHE_DIR/images busybox=$BIN_DIR/busybox applet links=()
  mkdir -p "$out"
  [[ -x $busybox ]] || unpack_package busybox-static bin/busybox "$busybox"
  [[ $out/tools.tar -nt $busybox && $out/tools.tar -nt ${BASH_SOURCE[0]} ]] && return
  # Without wget and ping: they look up names with the C library, which a static program cannot do.
  for applet in $("$busybox" --list | grep -vxE 'busybox|wget|ping6?|telnet'); do
    links+=("/bin/$applet=->busybox")
  done
  python3 "$pack" "$out/tools.tar" "$TOOLS_IMAGE" - "/bin/busybox=$busybox" "${links[@]}" /tmp/ \
    "/etc/passwd=$CLUSTER_DIR/images/passwd"
}
