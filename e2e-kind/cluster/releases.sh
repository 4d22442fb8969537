#!/usr/bin/env bash
# Ends releases of the operator's chart on the test cluster, with all OidcProxies and their definition. Its policies are
# for the whole cluster and the definition belongs to one release: two would lock each other out.
# usage: releases.sh end | end-others NAMESPACE/RELEASE
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
source "$CLUSTER_DIR/progress.sh"
[[ -f $ENV_FILE ]] || die "no cluster is running: run make cluster"
# shellcheck source=/dev/null
source "$ENV_FILE"

DEFINITION=customresourcedefinition/oidcproxies.oidcproxy.dev

admin() { "$KUBECTL" --kubeconfig "$KUBECONFIG" "$@"; }
helm() { "$HELM" --kubeconfig "$KUBECONFIG" "$@"; }

# others KEPT: NAMESPACE/RELEASE of each, whatever state it is in.
others() {
  helm list --all-namespaces --output json | python3 -c '
import json, sys
for release in json.load(sys.stdin):
    name = release["namespace"] + "/" + release["name"]
    if release["chart"].startswith("oidc-proxy-operator-") and name != sys.argv[1]:
        print(name)' "$1"
}

# owner: whose the definition is; it stays when its release goes.
owner() {
  local release='{.metadata.annotations.meta\.helm\.sh/release-namespace}/{.metadata.annotations.meta\.helm\.sh/release-name}'
  admin get "$DEFINITION" --ignore-not-found -o "jsonpath=$release"
}

end_oidc_proxies() {
  local namespace name
  admin delete oidcproxies --all --all-namespaces --timeout=60s >/dev/null 2>&1 && return
  # Nobody is there to clean up behind them. The next operator sweeps what they leave.
  admin get oidcproxies --all-namespaces --no-headers -o custom-columns=:metadata.namespace,:metadata.name |
    while read -r namespace name; do
      admin -n "$namespace" patch oidcproxy "$name" --type=merge -p '{"metadata":{"finalizers":null}}' </dev/null >/dev/null
    done
}

end_others() {
  local kept=$1 release found
  found=$(others "$kept")
  [[ -n $found || $(owner) != @("$kept"|"") ]] || return 0
  [[ -z $(owner) ]] || end_oidc_proxies
  # Who may act as whom in the demo is for the whole cluster too.
  admin delete clusterrole,clusterrolebinding demo-act-as-bob --ignore-not-found >/dev/null
  for release in $found; do
    say "ending the release $release"
    helm uninstall "${release#*/}" --namespace "${release%/*}" --no-hooks --wait --timeout 2m >/dev/null
  done
  admin delete "$DEFINITION" --ignore-not-found --timeout=60s >/dev/null
}

case ${1:-} in
  end) end_others "" ;;
  end-others) end_others "${2:?usage: releases.sh end-others NAMESPACE/RELEASE}" ;;
  *) die "usage: releases.sh end | end-others NAMESPACE/RELEASE" ;;
esac
