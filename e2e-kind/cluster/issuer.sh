#!/usr/bin/env bash
# OIDC issuers on the host, which host and pods reach at the same URL. Both may run at once.
# usage: ISSUER=keycloak|test issuer.sh up | down | token USER
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
source "$CLUSTER_DIR/progress.sh"
source "$CLUSTER_DIR/packages.sh"
source "$CLUSTER_DIR/node/pki.sh"
source "$CLUSTER_DIR/issuers/keycloak.sh"
source "$CLUSTER_DIR/issuers/test.sh"

# Where the cluster sees this machine is the cluster's to say.
if [[ -f $ENV_FILE ]]; then HOST_IP=$(sed -n 's/^HOST_IP=//p' "$ENV_FILE"); fi

# An issuer's process carries this in its environment and is found by it: a recorded number could be another's by now.
MARK=OIDCPROXY_CLUSTER_ISSUER

# issuer_pids NAME: fails when there is none. grep's own status says less: some process always ends while it reads.
issuer_pids() {
  local found
  found=$(grep -lzsx "$MARK=$1" /proc/[0-9]*/environ | tr -dc '0-9\n') || true
  [[ -n $found ]] && echo "$found"
}

issuer_url() {
  case $1 in
    keycloak) echo "https://$HOST_IP:$KEYCLOAK_PORT/realms/corp" ;;
    test) echo "https://$HOST_IP:$TEST_ISSUER_PORT" ;;
  esac
}

fetch() { curl --silent --show-error --fail --noproxy '*' --max-time 10 --cacert "$ISSUER_DIR/ca.crt" "$@"; }

answers() { fetch "$(issuer_url "$1")/.well-known/openid-configuration"; }

# start_issuer NAME COMMAND...: in the background, with its log beside its certificate.
start_issuer() {
  local name=$1
  shift
  env "$MARK=$name" setsid "$@" </dev/null >"$ISSUER_DIR/$name.log" 2>&1 &
  disown
}

stop_issuer() {
  local pids limit=$((SECONDS + 5)) signal=TERM
  while pids=$(issuer_pids "$1"); do
    ((SECONDS < limit)) || signal=KILL
    # shellcheck disable=SC2086
    kill -$signal $pids 2>/dev/null || true
    sleep 0.2
  done
}

certificates() {
  # A new address of the host needs a new certificate.
  [[ $(cat "$ISSUER_DIR/address" 2>/dev/null) == "$HOST_IP" ]] && return
  new_ca "$ISSUER_DIR" oidcproxy-issuer-ca
  new_certificate "$ISSUER_DIR" tls "/CN=$HOST_IP" "IP:$HOST_IP,IP:127.0.0.1,DNS:localhost"
  echo "$HOST_IP" >"$ISSUER_DIR/address"
}

# The rest of the tests learns the issuer from target/cluster/env.
record() {
  printf '%s=%q\n' ISSUER "$1" ISSUER_URL "$(issuer_url "$1")" ISSUER_CA "$ISSUER_DIR/ca.crt" \
    ISSUER_CLIENT_ID "$ISSUER_CLIENT_ID" >"$ISSUER_DIR/env"
  { sed '/^ISSUER/d' "$ENV_FILE"; cat "$ISSUER_DIR/env"; } >"$ENV_FILE.new"
  mv "$ENV_FILE.new" "$ENV_FILE"
}

up() {
  local issuer=${ISSUER:-test}
  [[ $issuer == keycloak || $issuer == test ]] || die "ISSUER is keycloak or test, not $issuer"
  [[ -f $ENV_FILE ]] || die "the issuer listens on the cluster's network: run make cluster first"
  need_packages openssl:openssl curl:curl python3:python3
  mkdir -p "$ISSUER_DIR" "$CACHE_DIR/logs"
  certificates
  "${issuer}_prepare"
  if [[ $(cat "$ISSUER_DIR/$issuer.version" 2>/dev/null) != "$("${issuer}_version")" ]] || ! answers "$issuer" >/dev/null 2>&1; then
    stop_issuer "$issuer"
    "${issuer}_start"
    wait_for_issuer "$issuer"
    "${issuer}_version" >"$ISSUER_DIR/$issuer.version"
  fi
  record "$issuer"
  say "issuer $issuer: $(issuer_url "$issuer")"
}

wait_for_issuer() {
  local limit=$((SECONDS + 120)) told=$SECONDS
  until answers "$1" >/dev/null 2>&1; do
    # Its process has the mark once it replaced the shell that started it.
    ((SECONDS < limit - 118)) || issuer_pids "$1" >/dev/null || die "issuer $1 ended: $(tail -n 1 "$ISSUER_DIR/$1.log") (log: $ISSUER_DIR/$1.log)"
    ((SECONDS < limit)) || die "issuer $1 does not answer; see $ISSUER_DIR/$1.log"
    if ((SECONDS - told >= 15)); then told=$SECONDS; say "issuer $1 is starting"; fi
    sleep 0.3
  done
}

down() {
  local issuer
  for issuer in ${ISSUER:-keycloak test}; do stop_issuer "$issuer"; done
  if [[ -z ${ISSUER:-} || $(sed -n 's/^ISSUER=//p' "$ISSUER_DIR/env" 2>/dev/null) == "$ISSUER" ]]; then
    rm -f "$ISSUER_DIR/env"
    [[ ! -f $ENV_FILE ]] || sed -i '/^ISSUER/d' "$ENV_FILE"
  fi
}

# Prints an id_token and nothing else.
token() {
  local user=${1:?usage: issuer.sh token USER} issuer=${ISSUER:-} endpoint answer
  [[ -n $issuer ]] || issuer=$(sed -n 's/^ISSUER=//p' "$ENV_FILE" 2>/dev/null) || true
  [[ -n $issuer ]] || die "no issuer is running: run make issuer"
  endpoint=$(answers "$issuer" | member token_endpoint) || die "issuer $issuer does not answer: run make issuer ISSUER=$issuer"
  answer=$(fetch --data-urlencode grant_type=password --data-urlencode "client_id=$ISSUER_CLIENT_ID" --data-urlencode scope=openid \
    --data-urlencode "username=$user" --data-urlencode "password=$user" "$endpoint") ||
    die "issuer $issuer gives no token for $user (users: alice, bob)"
  member id_token <<<"$answer"
}

member() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

case ${1:-} in
  up | down) "$1" ;;
  token) token "${2:-}" ;;
  *) die "usage: ISSUER=keycloak|test issuer.sh up | down | token USER" ;;
esac
