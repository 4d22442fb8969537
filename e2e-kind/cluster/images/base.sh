# shellcheck shell=bash
# A stand-in for the Dockerfiles' base image where no registry can be reached: a small Debian, as an image for buildah.

BASE_TAG=localhost/base:1
BASE_ARCHIVE=$CACHE_DIR/images/base-$DEBIAN_RELEASE.tar

make_base() {
  [[ -f $BASE_ARCHIVE ]] || {
    need_packages debootstrap:debootstrap
    long_step "making a base image (debootstrap $DEBIAN_RELEASE)" "$CACHE_DIR/logs/base-image.log" debootstrap_base
  }
  build_tool inspect --type image "$BASE_TAG" >/dev/null 2>&1 && return
  local container
  container=$(build_tool from scratch)
  build_tool add --quiet "$container" "$BASE_ARCHIVE" / >/dev/null
  build_tool commit --quiet --rm "$container" "$BASE_TAG" >/dev/null
}

debootstrap_base() {
  local root
  root=$(mktemp -d "$CACHE_DIR/base.XXXXXX")
  debootstrap --variant=minbase --include=ca-certificates "$DEBIAN_RELEASE" "$root"
  # Only what runs a program: no package lists, manuals, translations, and no Perl beyond the package tools' own.
  rm -rf "${root:?}"/{var/cache/apt,var/lib/apt/lists,var/log,tmp,usr/share/{doc,man,info,locale,lintian,zoneinfo},boot,media,srv}/* \
    "${root:?}"/usr/lib/*-linux-gnu/gconv
  tar --directory "$root" --sort=name --mtime=@0 --numeric-owner --exclude=./dev/* --exclude=./proc/* --exclude=./sys/* \
    -cf "$BASE_ARCHIVE.new" .
  rm -rf "$root"
  mv "$BASE_ARCHIVE.new" "$BASE_ARCHIVE"
}
