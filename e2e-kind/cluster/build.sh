#!/usr/bin/env bash
# Builds the node's programs, or kind, from Go modules into the cache. usage: build.sh [apiserver|all|kind]
# A fresh machine needs about 8 minutes on two cores, a warm Go build cache well under one, and a built cache nothing.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
source "$CLUSTER_DIR/progress.sh"
source "$CLUSTER_DIR/packages.sh"

KUBERNETES=k8s.io/kubernetes/cmd
CONTAINERD=github.com/containerd/containerd/v2/cmd
PLUGINS=github.com/containernetworking/plugins/plugins
VERSION=k8s.io/component-base/version
LINK="-s -w -X $VERSION.gitVersion=$KUBERNETES_VERSION -X $VERSION.gitMajor=1 -X $VERSION.gitMinor=36"

# module_hash MODULE: what decides whether its programs must be built again.
module_hash() {
  { go env GOVERSION GOARCH; echo "$LINK"; find "$CLUSTER_DIR/modules/$1" -type f -print0 | sort -z | xargs -0 cat; } |
    sha256sum | cut -d' ' -f1
}

# go_build MODULE STAMP OUTPUT-DIR PACKAGE...: stripped static programs, skipped when their stamp is current.
go_build() {
  local module=$1 name=$2 out=$3 stamp=$BIN_DIR/.$2 hash
  shift 3
  hash=$(module_hash "$module")
  [[ $(cat "$stamp" 2>/dev/null) == "$hash" ]] && return
  mkdir -p "$out"
  # -v names each package as it is done, which is what the progress lines show. Built beside, then moved: a running
  # program cannot be written over.
  (
    cd "$CLUSTER_DIR/modules/$module"
    CGO_ENABLED=0 nice -n 5 go build -v -trimpath -ldflags "$LINK" -o "$out/.new-$name/" "$@"
  )
  mv -f "$out/.new-$name/"* "$out/"
  rmdir "$out/.new-$name"
  echo "$hash" >"$stamp"
}

build_apiserver() { go_build kubernetes apiserver "$BIN_DIR" $KUBERNETES/kube-apiserver; }

build_gitops_status() { go_build gitops-status gitops-status "$BIN_DIR" .; }

build_kind() { go_build kind kind "$BIN_DIR" sigs.k8s.io/kind; }

build_node() {
  go_build kubernetes node "$BIN_DIR/node" $KUBERNETES/kube-controller-manager $KUBERNETES/kube-scheduler \
    $KUBERNETES/kubelet $KUBERNETES/kube-proxy ./coredns ./netpol
}

build_containers() {
  go_build cni cni "$BIN_DIR/cni" $PLUGINS/main/bridge $PLUGINS/main/loopback $PLUGINS/ipam/host-local $PLUGINS/meta/portmap
  go_build containerd containerd "$BIN_DIR/node" $CONTAINERD/containerd $CONTAINERD/containerd-shim-runc-v2 $CONTAINERD/ctr
}

get_etcd() { [[ -x $BIN_DIR/etcd ]] || unpack_package etcd-server usr/bin/etcd "$BIN_DIR/etcd"; }

is_current() { # STAMP:MODULE...
  local pair
  for pair in "$@"; do
    [[ $(cat "$BIN_DIR/.${pair%%:*}" 2>/dev/null) == "$(module_hash "${pair##*:}")" ]] || return 1
  done
}

main() {
  # Background builds ignore Ctrl-C; without this they would go on alone.
  trap 'trap - TERM; kill 0' INT TERM
  command -v go >/dev/null || die "Go is missing: install Go 1.26 or newer"
  mkdir -p "$BIN_DIR" "$CACHE_DIR/logs"
  # Two scripts may want the same programs at once: the second one waits and finds them built.
  exec 8>"$CACHE_DIR/.build.lock"
  flock -n 8 || { say "waiting for another build to end"; flock 8; }
  if [[ ${1:-all} == kind ]]; then
    is_current kind:kind || long_step "building kind" "$CACHE_DIR/logs/build-kind.log" build_kind
    return
  fi
  get_etcd
  is_current apiserver:kubernetes ||
    long_step "building kube-apiserver $KUBERNETES_VERSION" "$CACHE_DIR/logs/build-apiserver.log" build_apiserver
  is_current gitops-status:gitops-status ||
    long_step "building gitops-status" "$CACHE_DIR/logs/build-gitops-status.log" build_gitops_status
  [[ ${1:-all} == all ]] || return 0
  is_current node:kubernetes cni:cni containerd:containerd && return
  # Downloads and links of one use the cores that the other leaves idle.
  build_node >"$CACHE_DIR/logs/build-node.log" 2>&1 &
  local node=$! started=$SECONDS
  build_containers >"$CACHE_DIR/logs/build-containerd.log" 2>&1 &
  follow "building kubelet and the rest of the node" "$CACHE_DIR/logs/build-node.log" "$node" $! ||
    die "a build failed; see $CACHE_DIR/logs/build-node.log and build-containerd.log"
  say "building the node: done in $((SECONDS - started)) s"
}

main "$@"
