#!/usr/bin/env bash
# etcd, kube-apiserver, kubectl, helm and gitops-status for tests that start a control plane of their own, without a node.
# usage: control-plane.sh assets    prints the directory that holds the programs, and nothing else
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
source "$CLUSTER_DIR/progress.sh"

[[ ${1:-} == assets ]] || die "usage: control-plane.sh assets"
{
  mkdir -p "$CACHE_DIR"
  "$CLUSTER_DIR/clients.sh" 36
  "$CLUSTER_DIR/build.sh" apiserver
  mkdir -p "$CACHE_DIR/control-plane"
  ln -sf "$BIN_DIR/etcd" "$BIN_DIR/kube-apiserver" "$BIN_DIR/gitops-status" "$CACHE_DIR/clients/36/"{kubectl,helm} \
    "$CACHE_DIR/control-plane/"
} >&2
echo "$CACHE_DIR/control-plane"
