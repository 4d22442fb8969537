# shellcheck shell=bash
# Keycloak from Maven Central, with the realm of keycloak/realm.json.

KEYCLOAK_HOME=$CACHE_DIR/keycloak-$KEYCLOAK_VERSION

keycloak_prepare() {
  need_packages java:openjdk-17-jre-headless mvn:maven
  [[ -f $KEYCLOAK_HOME/.built ]] && return
  long_step "downloading Keycloak $KEYCLOAK_VERSION (160 MB)" "$CACHE_DIR/logs/keycloak-download.log" \
    mvn -B dependency:copy -DoutputDirectory="$CACHE_DIR/download" \
    -Dartifact="org.keycloak:keycloak-quarkus-dist:$KEYCLOAK_VERSION:zip"
  rm -rf "$KEYCLOAK_HOME"
  python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])' \
    "$CACHE_DIR/download/keycloak-quarkus-dist-$KEYCLOAK_VERSION.zip" "$CACHE_DIR"
  rm -rf "$CACHE_DIR/download"
  chmod +x "$KEYCLOAK_HOME/bin/kc.sh"
  # What the start would else work out each time: which database and cache it has.
  long_step "preparing Keycloak" "$CACHE_DIR/logs/keycloak-build.log" \
    "$KEYCLOAK_HOME/bin/kc.sh" build --db=dev-mem
  touch "$KEYCLOAK_HOME/.built"
}

keycloak_version() { cat "$CLUSTER_DIR/keycloak/realm.json" "$ISSUER_DIR/tls.crt" "${BASH_SOURCE[0]}" | sha256sum; }

keycloak_start() {
  mkdir -p "$KEYCLOAK_HOME/data/import"
  cp "$CLUSTER_DIR/keycloak/realm.json" "$KEYCLOAK_HOME/data/import/realm.json"
  # A small heap, and no second compiler: it lives for a few hundred requests.
  JAVA_OPTS="-Xms64m -Xmx384m -XX:MaxMetaspaceSize=256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError" \
    start_issuer keycloak "$KEYCLOAK_HOME/bin/kc.sh" start --optimized --import-realm --cache=local \
    --hostname="https://$HOST_IP:$KEYCLOAK_PORT" --http-host="$HOST_IP" --https-port="$KEYCLOAK_PORT" \
    --https-certificate-file="$ISSUER_DIR/tls.crt" --https-certificate-key-file="$ISSUER_DIR/tls.key"
}
