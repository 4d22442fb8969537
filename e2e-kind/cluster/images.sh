#!/usr/bin/env bash
# Builds the product's images from their Dockerfiles and loads them into the cluster. What did not change is skipped.
# usage: images.sh [build|load]    IMAGE_PROFILE is the cargo profile (default: release), IMAGE_TAG another tag
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
source "$CLUSTER_DIR/progress.sh"
source "$CLUSTER_DIR/packages.sh"
source "$CLUSTER_DIR/images/base.sh"

PROFILE=${IMAGE_PROFILE:-release}
# IMAGE_DOCKERFILES and IMAGE_BINARIES: the Dockerfiles of another checkout, and its binaries.
DOCKERFILES=${IMAGE_DOCKERFILES:-$REPO_DIR}
declare -A IMAGE=([oidc-proxy-operator]=$OPERATOR_IMAGE [oidc-proxy]=$PROXY_IMAGE)
declare -A DOCKERFILE=([oidc-proxy-operator]=Dockerfile.operator [oidc-proxy]=Dockerfile.proxy)

archive() { echo "$CACHE_DIR/images/$1$([[ $IMAGE_TAG == dev ]] || echo "-$IMAGE_TAG").tar"; }

has_docker() { timeout 10 docker info >/dev/null 2>&1; }

build_tool() { buildah --root "$CACHE_DIR/containers" --runroot "$CACHE_DIR/containers/run" --storage-driver vfs "$@"; }

binaries_dir() {
  local name=$PROFILE
  [[ $name != dev ]] || name=debug
  echo "${IMAGE_BINARIES:-${CARGO_TARGET_DIR:-$REPO_DIR/target}/$name}"
}

build_binaries() {
  [[ -n ${IMAGE_BINARIES:-} ]] ||
    long_step "building the binaries ($PROFILE)" "$CACHE_DIR/logs/build-binaries.log" \
      cargo build --manifest-path "$REPO_DIR/Cargo.toml" --profile "$PROFILE" \
      -p oidc-proxy-operator --bin oidc-proxy-operator -p oidc-proxy --bin oidc-proxy
}

# build_image NAME: from its Dockerfile, with the build stage replaced by the binary made on this machine.
build_image() {
  local name=$1 archive stage hash
  archive=$(archive "$name")
  hash=$(cat "$(binaries_dir)/$name" "$DOCKERFILES/${DOCKERFILE[$name]}" "$CLUSTER_DIR/images/base.sh" | sha256sum)
  [[ -f $archive && $(cat "$archive.hash" 2>/dev/null) == "$hash" ]] && return
  make_base
  stage=$(mktemp -d "$CACHE_DIR/stage.XXXXXX")
  mkdir "$stage/out"
  cp "$(binaries_dir)/$name" "$stage/out/$name"
  # The other thing that the Dockerfiles take from their build stage.
  tar -xOf "$BASE_ARCHIVE" ./etc/ssl/certs/ca-certificates.crt >"$stage/out/ca-certificates.crt"
  long_step "image ${IMAGE[$name]}" "$CACHE_DIR/logs/image-$name.log" buildah_image "$name" "$stage" "$archive.new"
  rm -rf "$stage"
  mv "$archive.new" "$archive"
  echo "$hash" >"$archive.hash"
}

buildah_image() {
  local name=$1 stage=$2 archive=$3
  rm -f "$archive"
  build_tool build --isolation chroot --layers=false --force-rm --build-context "build=$stage" \
    --build-context "docker.io/library/ubuntu:24.04=container-image://$BASE_TAG" \
    --tag "${IMAGE[$name]}" --file "$DOCKERFILES/${DOCKERFILE[$name]}" "$REPO_DIR"
  build_tool push "${IMAGE[$name]}" "docker-archive:$archive:${IMAGE[$name]}"
  # The archive is all that is needed; storage keeps the base image only.
  build_tool rmi "${IMAGE[$name]}"
  build_tool rmi --prune
}

# With Docker the whole Dockerfile is built as a user would build it, and its cache skips what did not change.
docker_image() {
  local name=$1 archive hash
  archive=$(archive "$name")
  long_step "image ${IMAGE[$name]}" "$CACHE_DIR/logs/image-$name.log" \
    docker build --build-arg "PROFILE=$PROFILE" --tag "${IMAGE[$name]}" --file "$DOCKERFILES/${DOCKERFILE[$name]}" "$DOCKERFILES"
  hash=$(docker image inspect --format '{{.Id}}' "${IMAGE[$name]}")
  [[ -f $archive && $(cat "$archive.hash" 2>/dev/null) == "$hash" ]] && return
  docker save --output "$archive.new" "${IMAGE[$name]}"
  mv "$archive.new" "$archive"
  echo "$hash" >"$archive.hash"
}

build() {
  local name
  mkdir -p "$CACHE_DIR/images" "$CACHE_DIR/logs"
  exec 6>"$CACHE_DIR/images/.lock"
  flock 6
  if has_docker; then
    for name in "${!IMAGE[@]}"; do docker_image "$name"; done
  else
    need_packages buildah:buildah
    build_binaries
    for name in "${!IMAGE[@]}"; do build_image "$name"; done
  fi
}

# What was loaded is noted beside the cluster's state, and forgotten with it.
load() {
  local name archive loaded=$STATE_DIR/loaded-$IMAGE_TAG
  [[ -f $ENV_FILE ]] || die "no cluster is running: run make cluster"
  mkdir -p "$loaded"
  for name in "${!IMAGE[@]}"; do
    archive=$(archive "$name")
    [[ -f $archive ]] || die "${IMAGE[$name]} is not built: run make images"
    cmp -s "$archive.hash" "$loaded/$name" && continue
    "$CLUSTER_DIR/cluster.sh" load "$archive"
    cp "$archive.hash" "$loaded/$name"
    say "loaded ${IMAGE[$name]}"
  done
}

case ${1:-all} in
  build | load) "$1" ;;
  all) build && load ;;
  *) die "usage: images.sh [build|load]" ;;
esac
