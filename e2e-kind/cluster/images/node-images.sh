# shellcheck shell=bash
# The images that the node needs before ours: pause, CoreDNS, and the tools that tests run in pods.

NODE_IMAGES=(pause coredns tools)

pack_node_images() {
  local pack=$CLUSTER_DIR/images/pack.py out=$CACHE_DIR/images busybox applet tools=()
  mkdir -p "$out"
  if [[ ! -x $BIN_DIR/pause || $CLUSTER_DIR/images/pause.c -nt $BIN_DIR/pause ]]; then
    cc -static -Os -o "$BIN_DIR/pause" "$CLUSTER_DIR/images/pause.c"
  fi
  [[ $out/pause.tar -nt $BIN_DIR/pause ]] ||
    python3 "$pack" "$out/pause.tar" "$PAUSE_IMAGE" /pause "/pause=$BIN_DIR/pause"
  [[ $out/coredns.tar -nt $BIN_DIR/node/coredns ]] ||
    python3 "$pack" "$out/coredns.tar" "$COREDNS_IMAGE" /coredns "/coredns=$BIN_DIR/node/coredns"
  busybox=$(busybox_static)
  if [[ ! $out/tools.tar -nt $busybox || ! $out/tools.tar -nt ${BASH_SOURCE[0]} ]]; then
    # Without wget and nslookup: the static busybox crashes in the C library's resolver.
    for applet in $("$busybox" --list | grep -vxE 'busybox|wget|ping6?|telnet'); do
      tools+=("/bin/$applet=->busybox")
    done
    python3 "$pack" "$out/tools.tar" "$TOOLS_IMAGE" - "/bin/busybox=$busybox" "${tools[@]}" /tmp/ /etc/passwd="$CLUSTER_DIR/images/passwd"
  fi
}

busybox_static() {
  [[ -x $BIN_DIR/busybox ]] || unpack_package busybox-static bin/busybox "$BIN_DIR/busybox"
  echo "$BIN_DIR/busybox"
}
