#!/usr/bin/env bash
# A control plane of another Kubernetes version, for tests without a node. Built from its Go module: ten minutes of CPU each.
# usage: other-versions.sh VERSION    prints the directory that holds the programs, and nothing else; VERSION as 1.31.14
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
source "$CLUSTER_DIR/progress.sh"

# module VERSION: a module that has kube-apiserver as a tool. Staging modules have the version 0.x of the same release.
module() {
  local version=$1 go_mod
  go_mod=$(go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/^\t"GoMod": "\(.*\)",\?$/\1/p')
  echo 'module cluster/other'
  echo 'go 1.26.0'
  echo "require k8s.io/kubernetes v$version"
  echo 'tool k8s.io/kubernetes/cmd/kube-apiserver'
  sed -n "s|^\t\(k8s.io/[a-z0-9-]*\) => ./staging/.*|replace \1 => \1 v0.${version#*.}|p" "$go_mod"
  # Since 1.34 or so staging modules are required as v0.0.0, and found by a workspace.
  grep -q '=> ./staging' "$go_mod" ||
    sed -n "s|^\t\(k8s.io/[a-z0-9-]*\) v0\.0\.0\( .*\)\?$|replace \1 => \1 v0.${version#*.}|p" "$go_mod"
}

build() {
  local version=$1 dir=$2 work=$2/module
  rm -rf "$work"
  mkdir -p "$work"
  module "$version" >"$work/go.mod"
  local link="-s -w" component=k8s.io/component-base/version minor=${version#*.}
  link+=" -X $component.gitVersion=v$version -X $component.gitMajor=1 -X $component.gitMinor=${minor%%.*}"
  # A build cache of its own, which goes when it is done: it is of no use to anything else, and more than a gigabyte.
  (
    cd "$work"
    export GOCACHE=$work/cache GOTOOLCHAIN=auto CGO_ENABLED=0
    go mod tidy
    nice -n 19 go build -v -trimpath -ldflags "$link" -o "$dir/kube-apiserver.new" k8s.io/kubernetes/cmd/kube-apiserver
  )
  mv "$dir/kube-apiserver.new" "$dir/kube-apiserver"
  rm -rf "$work"
}

version=${1:?usage: other-versions.sh VERSION}
dir=$CACHE_DIR/control-plane-$version
{
  assets=$("$CLUSTER_DIR/control-plane.sh" assets)
  mkdir -p "$dir" "$CACHE_DIR/logs"
  exec 8>"$CACHE_DIR/.other-versions.lock"
  flock -n 8 || { say "waiting for another build to end"; flock 8; }
  [[ -x $dir/kube-apiserver ]] ||
    long_step "building kube-apiserver $version" "$CACHE_DIR/logs/build-apiserver-$version.log" build "$version" "$dir"
  for program in etcd kubectl helm gitops-status; do ln -sf "$(readlink -f "$assets/$program")" "$dir/"; done
} >&2
echo "$dir"
