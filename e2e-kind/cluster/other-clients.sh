#!/usr/bin/env bash
# Client libraries of three languages with the programs of e2e-kind/other-clients, in $CACHE_DIR/other-clients.
# What did not change is not installed again.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
source "$CLUSTER_DIR/progress.sh"
source "$CLUSTER_DIR/packages.sh"
SOURCE_DIR=$REPO_DIR/e2e-kind/other-clients
TARGET_DIR=$CACHE_DIR/other-clients

install_python() {
  [[ -x venv/bin/python ]] || python3 -m venv venv
  venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
}

install_javascript() { npm ci --no-audit --no-fund --ignore-scripts; }

install_java() {
  rm -rf lib classes
  mvn -B dependency:copy-dependencies -DoutputDirectory="$PWD/lib"
  javac -cp 'lib/*' -d classes Client.java
}

for language in python javascript java; do
  hash=$(cat "$SOURCE_DIR/$language"/* | sha256sum)
  target=$TARGET_DIR/$language
  [[ $(cat "$target/.installed" 2>/dev/null) == "$hash" ]] && continue
  need_packages python3:python3 node:nodejs npm:npm javac:openjdk-17-jdk-headless mvn:maven
  python3 -c 'import ensurepip' 2>/dev/null || need_packages python3-venv:python3-venv
  mkdir -p "$target" "$CACHE_DIR/logs"
  cp "$SOURCE_DIR/$language"/* "$target/"
  cd "$target"
  export -f "install_$language"
  long_step "client library: $language" "$CACHE_DIR/logs/client-$language.log" bash -euc "install_$language"
  echo "$hash" >"$target/.installed"
done
