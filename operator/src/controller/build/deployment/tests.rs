use serde_json::{Value, json};

use super::*;
use crate::controller::{
    resolve::{Mounted, tests::resolved},
    validate::audit::AuditWebhook,
};

fn deployment(resolved: &Resolved, account: &str) -> Deployment {
    build(resolved, resolved.settings(), account)
}

fn built(spec: Value) -> Value {
    serde_json::to_value(deployment(&resolved(spec), "account-1")).unwrap()
}

#[test]
fn the_pod_is_restricted() {
    let pod = &built(json!({}))["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["enableServiceLinks"], false);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["runAsUser"], 65_532);
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    let context = &pod["containers"][0]["securityContext"];
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(pod["terminationGracePeriodSeconds"], 45);
}

#[test]
fn the_container_is_called_as_agreed() {
    let container = &built(json!({}))["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["args"],
        json!([
            "--oidc-proxy=auth/corp",
            "--secure-port=6443",
            "--readiness-probe-port=8080",
            "--tls-cert-file=/etc/oidc-proxy/serving/tls.crt",
            "--tls-private-key-file=/etc/oidc-proxy/serving/tls.key",
        ])
    );
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/ready");
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/live");
    assert_eq!(
        container["resources"]["requests"],
        json!({"cpu": "50m", "memory": "32Mi"})
    );
    assert_eq!(container["resources"]["limits"], json!({"memory": "256Mi"}));
}

#[test]
fn the_token_is_short_lived_and_the_authority_is_not_mounted() {
    let volumes = &built(json!({}))["spec"]["template"]["spec"]["volumes"];
    assert_eq!(volumes[0]["secret"]["secretName"], "corp-serving");
    let sources = &volumes[1]["projected"]["sources"];
    assert_eq!(
        sources[0]["serviceAccountToken"],
        json!({"path": "token", "expirationSeconds": 600})
    );
    assert_eq!(sources[1]["configMap"]["name"], "kube-root-ca.crt");
    assert!(!volumes.to_string().contains("corp-ca"));
}

#[test]
fn somebody_elses_certificate_is_mounted_as_it_is() {
    let spec = json!({"serving": {"certificate": {"source": "Secret", "secret": {"name": "tls"}}}});
    let volumes = &built(spec)["spec"]["template"]["spec"]["volumes"];
    assert_eq!(
        volumes[0]["secret"],
        json!({"secretName": "tls", "defaultMode": 0o440, "items": [
            {"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"},
        ]})
    );
}

#[test]
fn the_audit_webhook_has_a_mount() {
    let mut resolved = resolved(json!({}));
    let webhook = AuditWebhook {
        secret: "webhook".into(),
        key: "config".into(),
        hash: "sha256:1".into(),
        port: 8443,
    };
    resolved.audit_webhook = Some(webhook.clone());
    let built = deployment(&resolved, "account-1");
    let expected = Mounted {
        serving_secret: Some("corp-serving".into()),
        audit_webhook: Some(webhook),
        generation: Some(3),
    };
    assert_eq!(mounted(&built), expected, "it is read back");
    let deployment = serde_json::to_value(built).unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(
        pod["volumes"][2],
        json!({"name": "audit-webhook", "secret": {"secretName": "webhook", "defaultMode": 288, "items": [{"key": "config", "path": "kubeconfig"}]}})
    );
    assert_eq!(
        pod["containers"][0]["volumeMounts"][2],
        json!({"name": "audit-webhook", "mountPath": "/etc/oidc-proxy/audit-webhook", "readOnly": true})
    );
    assert!(!pod.to_string().contains("sha256:1"));
}

#[test]
fn settings_do_not_touch_the_template() {
    let template = |spec| built(spec)["spec"]["template"].clone();
    let other = json!({
        "authentication": {"reservedPrefixes": ["x:"]},
        "impersonation": {"clientRequests": "Deny"},
        "serving": {"hostnames": ["k8s.example.com"], "tls": {"minVersion": "VersionTLS13"}},
    });
    assert_eq!(template(json!({})), template(other));
}

#[test]
fn another_account_needs_other_pods() {
    let template = |account| {
        deployment(&resolved(json!({})), account)
            .spec
            .unwrap()
            .template
    };
    assert_eq!(template("account-1"), template("account-1"));
    assert_ne!(template("account-1"), template("account-2"));
}

#[test]
fn what_is_given() {
    let deployment = built(json!({"deployment": {
        "replicas": 3, "nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}], "priorityClassName": "high",
        "podLabels": {"team": "auth"}, "podAnnotations": {"note": "x"}, "imagePullSecrets": [{"name": "pull"}],
        "topologySpreadConstraints": [], "resources": {"requests": {"cpu": "1"}},
    }}));
    assert_eq!(deployment["spec"]["replicas"], 3);
    let metadata = &deployment["spec"]["template"]["metadata"];
    assert_eq!(metadata["labels"]["team"], "auth");
    assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], "corp");
    assert_eq!(
        metadata["annotations"],
        json!({"note": "x", "oidcproxy.dev/service-account-uid": "account-1"})
    );
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["nodeSelector"], json!({"a": "b"}));
    assert_eq!(pod["topologySpreadConstraints"], json!([]));
    assert_eq!(pod["priorityClassName"], "high");
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "pull"}]));
    assert_eq!(
        pod["containers"][0]["resources"],
        json!({"requests": {"cpu": "1"}})
    );
}

#[test]
fn pods_are_spread_and_an_autoscaler_counts_them() {
    let spec = &built(json!({"deployment": {"autoscaling": {"maxReplicas": 3}}}))["spec"];
    assert!(spec.get("replicas").is_none());
    let spread = &spec["template"]["spec"]["topologySpreadConstraints"];
    let domains = [&spread[0]["topologyKey"], &spread[1]["topologyKey"]];
    assert_eq!(
        domains,
        ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    );
    assert_eq!(spread[1]["whenUnsatisfiable"], "ScheduleAnyway");
}

#[test]
fn the_rollout_keeps_every_pod() {
    let deployment = built(json!({}));
    assert_eq!(
        deployment["spec"]["strategy"]["rollingUpdate"],
        json!({"maxUnavailable": 0, "maxSurge": 1})
    );
    assert_eq!(
        deployment["spec"]["selector"]["matchLabels"],
        json!({"app.kubernetes.io/name": "oidc-proxy", "app.kubernetes.io/instance": "corp"})
    );
}
