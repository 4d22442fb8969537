#!/usr/bin/env bash
# From nothing to kubectl through the proxy. usage: demo.sh up|down
set -euo pipefail
DEMO_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$DEMO_DIR/../cluster/settings.sh"
source "$CLUSTER_DIR/progress.sh"

OUT=$REPO_DIR/target/demo
NAMESPACE=oidc-proxy
RELEASE=oidc-proxy-operator
NODE_PORT=31443

admin() { "$KUBECTL" --kubeconfig "$KUBECONFIG" "$@"; }

# as USER ARGUMENT...: what the user would type, and what the user would see.
as() {
  local user=$1
  shift
  echo "\$ kubectl --kubeconfig target/demo/$user.kubeconfig $*"
  "$KUBECTL" --kubeconfig "$OUT/$user.kubeconfig" "$@" 2>&1
}

cluster() {
  "$CLUSTER_DIR/cluster.sh" up
  # The binaries, the issuer's too, are all compiled by the time the first of them is needed.
  "$CLUSTER_DIR/images.sh"
  ISSUER=test "$CLUSTER_DIR/issuer.sh" up
  # shellcheck source=/dev/null
  source "$ENV_FILE"
}

install() {
  # What the end-to-end suite left, when it did not pass.
  "$CLUSTER_DIR/releases.sh" end-others "$NAMESPACE/$RELEASE"
  say "installing the operator with Helm"
  local fresh=true
  "$HELM" --kubeconfig "$KUBECONFIG" status $RELEASE --namespace $NAMESPACE >/dev/null 2>&1 && fresh=false
  "$HELM" --kubeconfig "$KUBECONFIG" upgrade --install $RELEASE "$REPO_DIR/charts/oidc-proxy-operator" \
    --namespace $NAMESPACE --create-namespace --wait --timeout 3m \
    --set "image.repository=${OPERATOR_IMAGE%:*},image.tag=${OPERATOR_IMAGE##*:}" \
    --set "proxy.image.repository=${PROXY_IMAGE%:*},proxy.image.tag=${PROXY_IMAGE##*:}" >/dev/null
  # A tag that stays the same says nothing of a new image.
  if [[ $fresh == false && $(cat "$OUT/images" 2>/dev/null) != "$(images_hash)" ]]; then
    admin -n $NAMESPACE rollout restart deployment -l app.kubernetes.io/managed-by >/dev/null
    admin -n $NAMESPACE rollout status deployment/oidc-proxy-operator --timeout=2m >/dev/null
  fi
  images_hash >"$OUT/images"
}

# Of those that the cluster has under this checkout's tag; the cache has others too.
images_hash() { cat "$STATE_DIR/loaded-$IMAGE_TAG"/*; }

apply() {
  say "applying the OidcProxy demo"
  admin -n $NAMESPACE create configmap demo-issuer --from-file=ca.crt="$ISSUER_CA" --dry-run=client -o yaml |
    admin apply --server-side --force-conflicts -f - >/dev/null
  sed -e "s|ISSUER_URL|$ISSUER_URL|" -e "s|NODE_IP|$NODE_IP|" -e "s|NODE_PORT|$NODE_PORT|" "$DEMO_DIR/oidcproxy.yaml" >"$OUT/oidcproxy.yaml"
  local started=$SECONDS
  admin apply -f "$OUT/oidcproxy.yaml" >/dev/null
  sed -e "s|TOOLS_IMAGE|$TOOLS_IMAGE|" "$DEMO_DIR/workload.yaml" | admin apply -f - >/dev/null
  admin -n $NAMESPACE wait oidcproxy/demo --for=condition=Ready --timeout=120s >/dev/null ||
    { admin -n $NAMESPACE get oidcproxy demo -o yaml; die "the OidcProxy is not Ready"; }
  say "the OidcProxy is Ready after $((SECONDS - started)) s"
  admin -n demo wait pod/hello --for=condition=Ready --timeout=60s >/dev/null
}

# The published kubeconfig has clusters and contexts; a user adds the way to log in. Here it is the
# issuer's password grant, so that no browser is needed.
kubeconfigs() {
  local user file
  for user in alice bob; do
    file=$OUT/$user.kubeconfig
    admin -n $NAMESPACE get configmap demo-kubeconfig -o jsonpath='{.data.kubeconfig}' >"$file.new"
    chmod 600 "$file.new"
    "$KUBECTL" config --kubeconfig "$file.new" set-credentials "$user" --exec-api-version=client.authentication.k8s.io/v1 \
      --exec-interactive-mode=Never --exec-command="$DEMO_DIR/credential.sh" --exec-arg="$user" >/dev/null
    "$KUBECTL" config --kubeconfig "$file.new" set-context --current --user="$user" >/dev/null
    mv "$file.new" "$file"
  done
}

proxy_log() { admin -n $NAMESPACE logs -l app.kubernetes.io/name=oidc-proxy,app.kubernetes.io/instance=demo --tail=-1 --since=2m | grep '^\['; }

fail() { die "the demo does not show what it should: $*"; }

show() {
  local output
  {
    echo
    echo "--- alice is in the group dev, which may edit in the namespace demo"
    output=$(as alice auth whoami) || fail "alice cannot ask who she is: $output"
    echo "$output"
    grep -q 'corp:alice' <<<"$output" || fail "alice is not corp:alice"
    output=$(as alice -n demo get pods) || fail "alice is not allowed: $output"
    echo "$output"
    echo
    echo "--- exec, over the same connection that kubectl makes to an API server"
    output=$(as alice -n demo exec hello -- echo "hello from the pod") || fail "exec: $output"
    echo "$output"
    grep -q '^hello from the pod$' <<<"$output" || fail "exec says: $output"
    echo
    echo "--- alice may act as bob; the cluster itself was asked"
    output=$(as alice --as corp:bob auth whoami) || fail "--as: $output"
    echo "$output"
    echo
    echo "--- bob is in no group that may do anything here, and may not act as alice"
    ! output=$(as bob -n demo get pods) || fail "bob is allowed"
    echo "$output"
    grep -q 'corp:bob' <<<"$output" || fail "bob is refused for another reason"
    ! output=$(as bob --as corp:alice -n demo get pods) || fail "bob may act as alice"
    echo "$output"
    echo
    echo "--- what the proxies have logged of it"
    sleep 1
    output=$(proxy_log) || fail "no log lines"
    grep -E '/api/v1/namespaces/demo/pods|selfsubjectreviews' <<<"$output" | sort | tail -n 12
    grep -q 'AuSuccess.*exec.*inbound:\[corp:alice' <<<"$output" || fail "exec is not in the log"
    grep -q 'AuFail' <<<"$output" || fail "the refusal is not in the log"
  }
}

usage() {
  cat <<EOF

It is running. Use it:
  export KUBECONFIG=target/demo/alice.kubeconfig      (or bob's; they fetch tokens by themselves)
  make -s token USER=alice                            prints an id_token
  kubectl --kubeconfig target/cluster/admin.kubeconfig -n $NAMESPACE get oidcproxy demo -o yaml
  kubectl here is ${KUBECTL#"$REPO_DIR"/}
  make demo-down                                      ends it
EOF
}

down() {
  # shellcheck source=/dev/null
  if [[ -f $ENV_FILE ]] && source "$ENV_FILE" && "$CLUSTER_DIR/cluster.sh" status 2>/dev/null; then
    admin -n $NAMESPACE delete oidcproxy demo --ignore-not-found --timeout=60s >/dev/null || true
    admin delete -f "$DEMO_DIR/workload.yaml" --ignore-not-found --wait=false >/dev/null || true
    "$HELM" --kubeconfig "$KUBECONFIG" uninstall $RELEASE --namespace $NAMESPACE >/dev/null 2>&1 || true
  fi
  rm -rf "$OUT"
}

up() {
  local started=$SECONDS
  mkdir -p "$OUT"
  cluster
  install
  apply
  kubeconfigs
  show | tee "$OUT/transcript"
  ((PIPESTATUS[0] == 0)) || exit 1
  say "the demo took $((SECONDS - started)) s"
  usage
}

case ${1:-} in
  up | down) "$1" ;;
  *) die "usage: demo.sh up|down" ;;
esac
