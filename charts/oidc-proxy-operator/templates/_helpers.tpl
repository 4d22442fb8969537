{{- /* The name of all objects. */}}
{{- define "oidc-proxy-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 42 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 42 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- /* The labels that select the operator's pods, and nothing else of the release. */}}
{{- define "oidc-proxy-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "oidc-proxy-operator.labels" -}}
{{ include "oidc-proxy-operator.commonLabels" . }}
app.kubernetes.io/component: operator
{{- end }}

{{- /* The labels of all objects but for the component. */}}
{{- define "oidc-proxy-operator.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "oidc-proxy-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "oidc-proxy-operator.fullname" .) }}
{{- else -}}
{{ required "serviceAccount.name is required with serviceAccount.create=false" .Values.serviceAccount.name }}
{{- end -}}
{{- end }}

{{- define "oidc-proxy-operator.leaseName" -}}
{{ .Values.leaderElection.leaseName | default (include "oidc-proxy-operator.fullname" .) }}
{{- end }}

{{- /* The allowed namespaces, as a JSON list. */}}
{{- define "oidc-proxy-operator.namespaces" -}}
{{ .Values.namespaces | default (list .Release.Namespace) | toJson }}
{{- end }}

{{- /* Not empty when all namespaces are allowed. */}}
{{- define "oidc-proxy-operator.allNamespaces" -}}
{{- if has "*" .Values.namespaces }}yes{{ end -}}
{{- end }}

{{- /* One image reference of (dict "image" ... "root" $). */}}
{{- define "oidc-proxy-operator.image" -}}
{{- if .image.digest -}}
{{ if .image.tag }}{{ printf "%s:%s@%s" .image.repository .image.tag .image.digest }}{{ else }}{{ printf "%s@%s" .image.repository .image.digest }}{{ end }}
{{- else -}}
{{ printf "%s:%s" .image.repository (.image.tag | default .root.Chart.AppVersion) }}
{{- end -}}
{{- end }}

{{- /* What the operator does in each allowed namespace. */}}
{{- define "oidc-proxy-operator.namespaceRules" -}}
# The identity, the Service and the public objects (trust bundle, kubeconfig) of each proxy; issuers' CAs in ConfigMaps.
- apiGroups: [""]
  resources: [serviceaccounts, services, configmaps]
  verbs: [get, list, watch, create, patch, delete]
# Serving certificates and their authorities, and the Secrets that an OidcProxy refers to. They are written with a
# resourceVersion, hence update and not patch. Kubernetes cannot bound create, list and watch to names that come later.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update, delete]
# The proxies' pods.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
# Drains of nodes leave a proxy standing.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# deployment.autoscaling: who decides how many pods there are.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
# exposure.gateway: the route from a Gateway. Not watched: not every cluster has the kind.
- apiGroups: [gateway.networking.k8s.io]
  resources: [tlsroutes]
  verbs: [get, create, patch, delete]
# metrics.podMonitor: who reads the proxies' metrics. Not watched: not every cluster has the kind.
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [get, create, patch, delete]
# Who may reach the proxies, and what they may reach; exposure.ingress.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies, ingresses]
  verbs: [get, list, watch, create, patch, delete]
# Each proxy's right to read its own OidcProxy. No escalate and no bind: the API server lets the operator grant only
# what it holds itself.
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
# Which pods are ready: each is asked for its state before an OidcProxy is called Ready.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
{{- end }}

{{- /* The allowed namespaces as the elements of a CEL list. */}}
{{- define "oidc-proxy-operator.squotedNamespaces" -}}
{{- $quoted := list }}
{{- range include "oidc-proxy-operator.namespaces" . | fromJsonArray }}
{{- $quoted = append $quoted (squote .) }}
{{- end }}
{{- join ", " $quoted }}
{{- end }}

{{- /* The volume with the credentials of the pod's ServiceAccount. */}}
{{- define "oidc-proxy-operator.apiAccess" -}}
# An automounted token is extended to a year; this one is not.
- name: api-access
  projected:
    defaultMode: 0440
    sources:
    - serviceAccountToken:
        path: token
        expirationSeconds: 600
    - configMap:
        name: kube-root-ca.crt
        items:
        - key: ca.crt
          path: ca.crt
    - downwardAPI:
        items:
        - path: namespace
          fieldRef:
            apiVersion: v1
            fieldPath: metadata.namespace
{{- end }}
