#!/usr/bin/env bash
# Checks the chart without a cluster: lint, what is rendered, and what the schema refuses. usage: charts/test.sh HELM
set -euo pipefail
HELM=${1:?usage: charts/test.sh HELM}
CHART=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/oidc-proxy-operator
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
# Nothing here may depend on a cluster that happens to be configured.
export KUBECONFIG=$WORK/kubeconfig
(umask 077 && : >"$KUBECONFIG")
failures=0

fail() {
  echo "FAIL: $*" >&2
  failures=$((failures + 1))
}

# render FILE [flag...]: the manifests of a release x in namespace ops.
render() {
  local file=$WORK/$1
  shift
  "$HELM" template x "$CHART" --namespace ops --kube-version 1.31.0 "$@" >"$file" 2>"$WORK/error" ||
    fail "does not render with: $* ($(head -c 400 "$WORK/error"))"
}

# refused TEXT [flag...]: rendering must fail, and say TEXT.
refused() {
  local text=$1
  shift
  if "$HELM" template x "$CHART" --namespace ops "$@" >/dev/null 2>"$WORK/error"; then
    fail "renders, but should be refused: $*"
  elif ! grep -q -- "$text" "$WORK/error"; then
    fail "refused without '$text': $* ($(head -c 400 "$WORK/error"))"
  fi
}

# objects FILE: kind, namespace (or -) and name of each object.
objects() {
  awk '
    function flush() { if (kind != "") print kind, (namespace == "" ? "-" : namespace), name; kind = name = namespace = ""; inmeta = 0 }
    /^---/ { flush(); next }
    /^kind:/ { kind = $2 }
    /^[a-z]/ { inmeta = ($1 == "metadata:") }
    inmeta && /^  name:/ { name = $2 }
    inmeta && /^  namespace:/ { namespace = $2 }
    END { flush() }' "$WORK/$1" | sort
}

# document FILE KIND [NAME]: that object's text.
document() {
  awk -v kind="$2" -v name="${3:-}" '
    function flush() { if (text ~ ("\nkind: " kind "\n") && (name == "" || text ~ ("\n  name: " name "\n"))) printf "%s", text; text = "" }
    /^---/ { flush(); next }
    { text = text "\n" $0 "\n" }
    END { flush() }' "$WORK/$1" | grep -v '^$' || true
}

has() { document "$1" "$2" "$3" | grep -qF -- "$4" || fail "$2 $3 lacks: $4"; }
lacks() { ! document "$1" "$2" "$3" | grep -qF -- "$4" || fail "$2 $3 must not have: $4"; }
exists() { objects "$1" | grep -qx "$2" || fail "there is no $2"; }
absent() { ! objects "$1" | grep -q "$2" || fail "there must be no $2"; }

NAME=x-oidc-proxy-operator
"$HELM" lint --strict "$CHART" >"$WORK/lint" 2>&1 || fail "lint: $(cat "$WORK/lint")"
cmp -s "$CHART/files/oidcproxies.yaml" "$CHART/../../crds/oidcproxies.yaml" ||
  fail "files/oidcproxies.yaml differs from crds/oidcproxies.yaml: run make generate"
"$CHART/../values.py" --check || fail "values.yaml, its schema and the README do not say the same"

# As it comes: its own namespace, everything that protects it.
render default
diff <(objects default) - <<END || fail "the default objects are other ones"
ClusterRole - $NAME
ClusterRole - $NAME-uninstall
ClusterRoleBinding - $NAME
ClusterRoleBinding - $NAME-uninstall
CustomResourceDefinition - oidcproxies.oidcproxy.dev
Deployment ops $NAME
Job ops $NAME-uninstall
NetworkPolicy ops $NAME
Pod ops $NAME-test
PodDisruptionBudget ops $NAME
Role default $NAME-api-endpoints
Role ops $NAME
Role ops $NAME-leader-election
RoleBinding default $NAME-api-endpoints
RoleBinding ops $NAME
RoleBinding ops $NAME-leader-election
Service ops $NAME-metrics
ServiceAccount ops $NAME
ServiceAccount ops $NAME-uninstall
ValidatingAdmissionPolicy - $NAME-cluster-roles
ValidatingAdmissionPolicy - $NAME-namespaces
ValidatingAdmissionPolicy - $NAME-status
ValidatingAdmissionPolicyBinding - $NAME-cluster-roles
ValidatingAdmissionPolicyBinding - $NAME-namespaces
ValidatingAdmissionPolicyBinding - $NAME-status
END
has default Deployment $NAME '"--namespaces=ops"'
has default Deployment $NAME '"--proxy-image=oidc-proxy:'
has default Deployment $NAME "--lease-name=$NAME"
lacks default Deployment $NAME --allow-image-override
for setting in 'runAsNonRoot: true' 'runAsUser: 65532' 'type: RuntimeDefault' 'allowPrivilegeEscalation: false' \
  'readOnlyRootFilesystem: true' 'drop: [ALL]' 'automountServiceAccountToken: false' 'expirationSeconds: 600' \
  'replicas: 2' 'path: /healthz' 'path: /readyz' 'matchLabelKeys: [pod-template-hash]'; do
  has default Deployment $NAME "$setting"
done
for setting in 'runAsNonRoot: true' 'runAsUser: 65532' 'type: RuntimeDefault' 'allowPrivilegeEscalation: false' \
  'readOnlyRootFilesystem: true' 'drop: [ALL]' 'automountServiceAccountToken: false' 'expirationSeconds: 600' \
  'helm.sh/hook: pre-delete' '- --policy=Stop' 'backoffLimit: 0' 'activeDeadlineSeconds: 300'; do
  has default Job $NAME-uninstall "$setting"
done
# The hook's rights: to look, and to delete when that is asked for; gone when it has ended.
has default ClusterRole $NAME-uninstall 'verbs: [list]'
for kind in ServiceAccount ClusterRole ClusterRoleBinding; do
  has default $kind $NAME-uninstall 'helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed'
done
has default CustomResourceDefinition oidcproxies.oidcproxy.dev 'helm.sh/resource-policy: keep'
has default CustomResourceDefinition oidcproxies.oidcproxy.dev 'argocd.argoproj.io/sync-options: Prune=false'
has default Role $NAME-leader-election "resourceNames: [\"$NAME\"]"
has default ValidatingAdmissionPolicy $NAME-status "request.userInfo.username != 'system:serviceaccount:ops:$NAME'"
has default ValidatingAdmissionPolicy $NAME-namespaces "!(request.namespace in ['ops'])"
has default ValidatingAdmissionPolicy $NAME-cluster-roles "request.userInfo.username == 'system:serviceaccount:ops:$NAME'"
for policy in status namespaces; do
  lacks default ValidatingAdmissionPolicy $NAME-$policy DELETE
done
for policy in status namespaces cluster-roles; do
  has default ValidatingAdmissionPolicy $NAME-$policy 'failurePolicy: Fail'
  has default ValidatingAdmissionPolicyBinding $NAME-$policy 'validationActions: [Deny]'
done

# The rights: named ones only, and none over Secrets or workloads outside the allowed namespaces.
for kind in ClusterRole Role; do
  rules=$(document default $kind | grep -E '^ *(- )?(apiGroups|resources|verbs|nonResourceURLs):|^ *- ' || true)
  for wrong in '\*' escalate '\bbind\b' nonResourceURLs; do
    ! grep -qE -- "$wrong" <<<"$rules" || fail "a $kind has $wrong"
  done
done
for resource in secrets deployments configmaps pods; do
  ! document default ClusterRole | grep -v '^ *#' | grep -qw "$resource" || fail "the ClusterRole has $resource"
done
has default ClusterRole $NAME 'userextras/authentication.kubernetes.io/credential-id'
for kind in ClusterRole Role; do
  unexplained=$(document default $kind $NAME | awk '/^ *#/ { explained = 1; next } /^- apiGroups/ { if (!explained) print; explained = 0 }')
  [[ -z $unexplained ]] || fail "a rule of the $kind has no comment that says why"
done

# Several namespaces: a Role and a binding in each, in its own only when it is listed.
render several --set 'namespaces={auth,dev}'
for namespace in auth dev; do
  exists several "Role $namespace $NAME"
  exists several "RoleBinding $namespace $NAME"
done
absent several "^Role ops $NAME\$"
has several Deployment $NAME '"--namespaces=auth,dev"'
has several ValidatingAdmissionPolicy $NAME-namespaces "!(request.namespace in ['auth', 'dev'])"
lacks several ClusterRole $NAME '[secrets]'

# All namespaces: by ClusterRole, and without the policy that bounds them.
render all --set 'namespaces={*}'
has all ClusterRole $NAME '[secrets]'
absent all "^Role ops $NAME\$"
absent all "$NAME-namespaces"
exists all "ValidatingAdmissionPolicy - $NAME-status"
has all Deployment $NAME '"--namespaces=*"'
! document all ClusterRole | grep -E '(resources|verbs|apiGroups):' | grep -qF '*' || fail 'the ClusterRole has a * with namespaces={*}'

# Any extra key: userextras cannot be named with a wildcard, so it is the whole group, beside named ones too.
for keys in '*' '*,example.org/tenant'; do
  render any --set "impersonation.extraKeys={$keys}"
  has any ClusterRole $NAME '- "*"'
  lacks any ClusterRole $NAME userextras/
  lacks any ClusterRole $NAME '- uids'
done

# Everything turned over.
render odd --set replicas=1 --set crds.install=false --set admissionPolicy.enabled=false --set rbac.create=false \
  --set networkPolicy.enabled=false --set metrics.service.enabled=false --set serviceAccount.create=false \
  --set serviceAccount.name=mine --set fullnameOverride=other --set allowImageOverride=true --set metrics.port=9090 \
  --set "image.digest=sha256:$(printf 'a%.0s' {1..64})" --set image.repository=registry.example.com/a --set image.tag=v1
diff <(objects odd) <(echo "Deployment ops other") || fail "the objects are other ones when all is off"
has odd Deployment other 'serviceAccountName: mine'
has odd Deployment other --allow-image-override
has odd Deployment other --metrics-port=9090
has odd Deployment other '"registry.example.com/a:v1@sha256:aaaa'

render delete --set uninstall.policy=Delete --set uninstall.timeoutSeconds=30
has delete Job $NAME-uninstall '- --timeout-seconds=30'
has delete ClusterRole $NAME-uninstall 'verbs: [list, delete]'

render service --set metrics.serviceMonitor.enabled=true --set metrics.serviceMonitor.labels.release=prometheus
has service ServiceMonitor $NAME 'release: prometheus'
has service Service $NAME-metrics 'app.kubernetes.io/component: operator'

render more --set metrics.podMonitor.enabled=true --set metrics.prometheusRule.enabled=true --set crds.keep=false \
  --set networkPolicy.egress.enabled=true --set 'impersonation.extraKeys={example.org/tenant}' \
  --set 'networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=monitoring' \
  --set 'tolerations[0].operator=Exists' --set podLabels.a=b --set podAnnotations.c=d --set 'imagePullSecrets[0].name=pull' \
  --set 'topologySpreadConstraints[0].maxSkew=1' --set priorityClassName=system-cluster-critical --set serviceAccount.annotations.a=b
exists more "PodMonitor ops $NAME"
exists more "PrometheusRule ops $NAME"
lacks more CustomResourceDefinition oidcproxies.oidcproxy.dev 'resource-policy'
lacks more CustomResourceDefinition oidcproxies.oidcproxy.dev 'sync-options'
has more ClusterRole $NAME '"userextras/example.org/tenant"'
has more NetworkPolicy $NAME 'team: monitoring'
has more NetworkPolicy $NAME '- Egress'

# What the schema and the templates refuse; Helm 3 and 4 word it differently.
refused 'dditional' --set unknown=1
refused 'dditional' --set image.unknown=1
refused 'dditional' --set metrics.service.unknown=1
refused 'replicas' --set replicas=-1
refused 'replicas' --set-string replicas=2
refused 'namespaces' --set 'namespaces={*,auth}'
refused 'namespaces' --set "namespaces={a'b}"
refused 'namespaces' --set 'namespaces={Auth}'
refused 'namespaces' --set 'namespaces={auth,auth}'
refused 'extraKeys' --set 'impersonation.extraKeys={a*}'
refused 'extraKeys' --set 'impersonation.extraKeys={Upper}'
refused 'logLevel' --set logLevel=loud
refused 'digest' --set image.digest=latest
refused 'pullPolicy' --set image.pullPolicy=Sometimes
refused 'serviceAccount.name' --set serviceAccount.create=false
refused 'uninstall' --set uninstall.policy=Ask
refused 'podLabels' --set 'podLabels.app\.kubernetes\.io/name=other'
for kind in podMonitor serviceMonitor prometheusRule; do
  refused "$kind" --set metrics.$kind.enabled=true --set "metrics.$kind.labels.app\.kubernetes\.io/instance=other"
done
refused 'crds.keep' --set uninstall.policy=Orphan --set crds.keep=false
refused 'metrics.service.enabled' --set metrics.serviceMonitor.enabled=true --set metrics.service.enabled=false
refused 'kubeVersion' --kube-version 1.30.0

((failures == 0)) || { echo "charts/test.sh: $failures failed with $("$HELM" version --short)" >&2; exit 1; }
echo "chart: passed with $("$HELM" version --short)"
