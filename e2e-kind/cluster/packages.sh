# shellcheck shell=bash
# Debian packages that the cluster needs, installed when their command is missing.

# need_packages COMMAND:PACKAGE...
need_packages() {
  local pair missing=()
  for pair in "$@"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
  done
  ((${#missing[@]})) || return 0
  [[ $(id -u) == 0 ]] || die "missing: ${missing[*]}; run as root: apt-get install ${missing[*]}"
  command -v apt-get >/dev/null || die "missing: ${missing[*]}; install them with this system's package manager"
  # The lock: two scripts may find something missing at the same time.
  long_step "installing ${missing[*]}" "$CACHE_DIR/logs/apt.log" flock "$CACHE_DIR" bash -c '
    set -e
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y --no-install-recommends "$@" || { apt-get update && apt-get install -y --no-install-recommends "$@"; }
  ' install "${missing[@]}"
}

# unpack_package PACKAGE MEMBER TARGET: one file of a package, without installing it: a package that brings a service
# would start it on the machine.
unpack_package() {
  local package=$1 member=$2 target=$3 work
  work=$(mktemp -d "$CACHE_DIR/unpack.XXXXXX")
  (
    cd "$work"
    # apt drops its rights for downloads unless told otherwise, and could not write here.
    apt-get -o APT::Sandbox::User=root download "$package" ||
      { apt-get update && apt-get -o APT::Sandbox::User=root download "$package"; }
    dpkg-deb -x "$package"_*.deb .
  ) >"$CACHE_DIR/logs/$package.log" 2>&1 || die "cannot get Debian package $package; see $CACHE_DIR/logs/$package.log"
  mv "$work/$member" "$target"
  rm -rf "$work"
}
