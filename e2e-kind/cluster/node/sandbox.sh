# shellcheck shell=bash
# The node lives in namespaces of its own: network, mounts and processes, held by one small init process.
#
# That is what makes its end simple and certain. When the init process dies, for whatever reason, the kernel ends every
# process inside, and with the last of them go the interfaces, iptables rules, mounts and pod networks. What remains for
# cluster-down are empty cgroups and files under target/cluster.

# The init process carries this in its environment. It is found by that, not by a recorded number that another process
# may have by now, and without any file, so that it is found after target/ was deleted too.
SANDBOX_MARK=OIDCPROXY_CLUSTER_NODE

# Inside the node, /run is its own, and everything is reached by short paths (a socket's path has 107 bytes at most).
# shellcheck disable=SC2034 # used by the files that start something inside
NODE_STATE=/run/node/state
NODE_BIN=/run/node/bin

# sandbox_pid: the init process's number as the host sees it; fails when there is none.
sandbox_pid() {
  local environ pid
  while read -r environ; do
    pid=${environ//[!0-9]/}
    # Three fields: it has a number here and one inside, and the one inside is 1.
    if awk '/^NSpid:/ {exit !(NF == 3 && $3 == 1)}' "/proc/$pid/status" 2>/dev/null; then
      echo "$pid"
      return 0
    fi
  done < <(grep -lzs "^$SANDBOX_MARK=" /proc/[0-9]*/environ)
  return 1
}

# sandbox_owner PID: the state directory of the checkout that started it.
sandbox_owner() { tr '\0' '\n' <"/proc/$1/environ" | sed -n "s/^$SANDBOX_MARK=//p"; }

# in_node COMMAND...: runs it inside; SANDBOX is the init process's number.
in_node() { nsenter --target "$SANDBOX" --mount --net --pid -- "$@"; }

sandbox_start() {
  local init=$BIN_DIR/pause
  # setsid: Ctrl-C in the terminal that started the cluster must not end it. 9 is the lock of the running command.
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$SANDBOX_MARK=$STATE_DIR" setsid \
    unshare --pid --fork --kill-child --mount --net --mount-proc "$init" </dev/null >"$LOG_DIR/sandbox.log" 2>&1 9>&- &
  disown
  wait_until 5 "the start of the node's namespaces" sandbox_pid
  SANDBOX=$(sandbox_pid)
  # shellcheck disable=SC2016 # the inner shell expands it
  in_node sh -euc '
    # Everything that the host can reach by other names is bound first: the checkout may lie under what is hidden next.
    mount -t tmpfs tmpfs /mnt
    mkdir -p /mnt/node/state /mnt/node/bin /mnt/lock
    mount --bind "$1" /mnt/node/state
    mount --bind "$2" /mnt/node/bin
    mount --no-mtab --move /mnt /run
    # Fixed paths of kubelet, the CNI plugins and containerd: on the host nothing may remain of them.
    for hidden in /var/log /var/lib; do mount -t tmpfs tmpfs $hidden; done
    for kept in /var/lib/etcd /var/lib/containerd /var/lib/kubelet /var/log/pods; do
      mkdir -p "$kept" "/run/node/state/disk$kept"
      mount --bind "/run/node/state/disk$kept" "$kept"
    done
    # Pods see mounts that are made later, as on a real node.
    mount --make-rshared /
  ' sandbox "$STATE_DIR" "$BIN_DIR"
}

# sandbox_stop: ends every node, at once; nothing in one is worth a slow end.
sandbox_stop() {
  local limit=$((SECONDS + 20)) init
  while init=$(sandbox_pid); do
    ((SECONDS < limit)) || die "the node's processes do not end; see: ps -o pid,stat,wchan,args $init"
    kill -KILL "$init" 2>/dev/null || true
    sleep 0.1
  done
}

# daemon NAME COMMAND...: starts it inside unless it runs. Its log is $LOG_DIR/NAME.log.
daemon() {
  local name=$1
  shift
  daemon_alive "$name" && return
  setsid nsenter --target "$SANDBOX" --mount --net --pid -- \
    env -i PATH="$NODE_BIN/node:/usr/sbin:/usr/bin:/sbin:/bin" HOME=/run/node NODE_NAME="$NODE_NAME" "$@" \
    </dev/null >>"$LOG_DIR/$name.log" 2>&1 9>&- &
  echo "$! $(start_time $!)" >"$STATE_DIR/pids/$name"
  # Its end is not this shell's to report.
  disown
}

# A process number alone may belong to another process by now; with its start time it is unique since boot. One that
# ended but was not yet collected by its parent (Z) counts as gone.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" {print $20}'; }

daemon_alive() {
  local pid started
  read -r pid started 2>/dev/null <"$STATE_DIR/pids/$1" || return 1
  [[ -n $started && $(start_time "$pid") == "$started" ]]
}
