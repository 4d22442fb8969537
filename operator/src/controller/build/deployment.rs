//! The pods. Nothing of the settings is in here: the proxies take new ones in while they run.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, ConfigMapProjection, Container, ContainerPort, DownwardAPIProjection,
            DownwardAPIVolumeFile, HTTPGetAction, KeyToPath, ObjectFieldSelector,
            PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ProjectedVolumeSource,
            ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext,
            ServiceAccountTokenProjection, TopologySpreadConstraint, Volume, VolumeMount,
            VolumeProjection,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{ADMIN, ADMIN_PORT, HTTPS_PORT, SECURE_PORT};
use crate::controller::{
    identity::Identity,
    resolve::{Resolved, Scaling},
    validate::audit::{AuditWebhook, WEBHOOK_MOUNT},
};

const CONTAINER: &str = "proxy";
const SERVING: &str = "serving";
const SERVING_PATH: &str = "/etc/oidc-proxy/serving";
/// Where the proxy looks for Secrets that its settings speak of.
const MOUNTS_PATH: &str = "/etc/oidc-proxy";
const TOKEN: &str = "token";
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const TOKEN_SECONDS: i64 = 600;
const NON_ROOT: i64 = 65_532;

/// For what a leaving pod does beside waiting.
const GRACE_SECONDS: i64 = 10;

/// Tokens are bound to an account's UID, and the kubelet renews them minutes after the account is another: pods of the
/// one before are replaced.
const ACCOUNT_UID: &str = "oidcproxy.dev/service-account-uid";

pub(super) fn build(resolved: &Resolved, account_uid: &str) -> Deployment {
    let identity = &resolved.identity;
    Deployment {
        metadata: identity.child(&identity.name),
        spec: Some(DeploymentSpec {
            // What an autoscaler decides is not ours to set.
            replicas: match resolved.scaling {
                Scaling::Fixed(replicas) => Some(replicas),
                Scaling::Automatic { .. } => None,
            },
            selector: selector(identity),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(0)),
                    max_surge: Some(IntOrString::Int(1)),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(pod_metadata(resolved, account_uid)),
                spec: Some(pod(resolved)),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn selector(identity: &Identity) -> LabelSelector {
    LabelSelector {
        match_labels: Some(identity.selector()),
        ..LabelSelector::default()
    }
}

fn pod_metadata(resolved: &Resolved, account_uid: &str) -> ObjectMeta {
    let mut labels = resolved.deployment.pod_labels.clone();
    labels.extend(resolved.identity.labels());
    let mut annotations = resolved.deployment.pod_annotations.clone();
    annotations.insert(ACCOUNT_UID.to_owned(), account_uid.to_owned());
    ObjectMeta {
        labels: Some(labels),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    }
}

fn pod(resolved: &Resolved) -> PodSpec {
    let given = &resolved.deployment;
    let drain = &resolved.settings.drain;
    let leaving = i64::from(drain.delay_seconds) + i64::from(drain.deadline_seconds);
    PodSpec {
        service_account_name: Some(resolved.identity.name.clone()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(leaving + GRACE_SECONDS),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(NON_ROOT),
            run_as_group: Some(NON_ROOT),
            fs_group: Some(NON_ROOT),
            seccomp_profile: Some(runtime_default()),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(resolved)],
        volumes: Some(volumes(resolved)),
        image_pull_secrets: filled(&given.image_pull_secrets),
        node_selector: Some(given.node_selector.clone()).filter(|map| !map.is_empty()),
        tolerations: filled(&given.tolerations),
        affinity: given.affinity.clone(),
        topology_spread_constraints: Some(
            given
                .topology_spread_constraints
                .clone()
                .unwrap_or_else(|| {
                    let domains = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"];
                    domains
                        .map(|domain| spread(&resolved.identity, domain))
                        .to_vec()
                }),
        ),
        priority_class_name: given.priority_class_name.clone(),
        ..PodSpec::default()
    }
}

fn container(resolved: &Resolved) -> Container {
    let identity = &resolved.identity;
    let port = |name: &str, number| ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    Container {
        name: CONTAINER.into(),
        image: Some(resolved.image.clone()),
        image_pull_policy: resolved.image_pull_policy.clone(),
        args: Some(vec![
            format!("--oidc-proxy={}/{}", identity.namespace, identity.name),
            format!("--secure-port={SECURE_PORT}"),
            format!("--readiness-probe-port={ADMIN_PORT}"),
            format!("--tls-cert-file={SERVING_PATH}/tls.crt"),
            format!("--tls-private-key-file={SERVING_PATH}/tls.key"),
        ]),
        ports: Some(vec![port(HTTPS_PORT, SECURE_PORT), port(ADMIN, ADMIN_PORT)]),
        readiness_probe: Some(probe("/ready", 2, 1)),
        liveness_probe: Some(probe("/live", 10, 3)),
        resources: Some(
            resolved
                .deployment
                .resources
                .clone()
                .unwrap_or_else(default_resources),
        ),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".into()]),
                ..Capabilities::default()
            }),
            seccomp_profile: Some(runtime_default()),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts(resolved)),
        ..Container::default()
    }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(ADMIN.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

/// The certificate; of somebody else's Secret nothing more than that.
fn mounts(resolved: &Resolved) -> Vec<VolumeMount> {
    let mut mounts = vec![
        // A directory: a file mounted by subPath never changes again.
        mount(SERVING, SERVING_PATH),
        mount(TOKEN, TOKEN_PATH),
    ];
    if resolved.audit_webhook.is_some() {
        let path = format!("{MOUNTS_PATH}/{WEBHOOK_MOUNT}");
        mounts.push(mount(WEBHOOK_MOUNT, &path));
    }
    mounts
}

fn volumes(resolved: &Resolved) -> Vec<Volume> {
    let mut volumes = vec![serving_volume(resolved), token_volume()];
    volumes.extend(resolved.audit_webhook.as_ref().map(webhook_volume));
    volumes
}

/// Under one name, whatever the key is called.
fn webhook_volume(webhook: &AuditWebhook) -> Volume {
    Volume {
        name: WEBHOOK_MOUNT.into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(webhook.secret.clone()),
            default_mode: Some(0o440),
            items: Some(vec![KeyToPath {
                key: webhook.key.clone(),
                path: "kubeconfig".into(),
                mode: None,
            }]),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn serving_volume(resolved: &Resolved) -> Volume {
    let provided = resolved.provided.as_ref();
    let item = |key: &str| KeyToPath {
        key: key.to_owned(),
        path: key.to_owned(),
        mode: None,
    };
    Volume {
        name: SERVING.into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(provided.map_or_else(
                || resolved.identity.serving_secret(),
                |provided| provided.secret.clone(),
            )),
            default_mode: Some(0o440),
            items: provided.map(|_| vec![item("tls.crt"), item("tls.key")]),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// What an automounted token would be, but with ten minutes instead of a year.
fn token_volume() -> Volume {
    Volume {
        name: TOKEN.into(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o440),
            sources: Some(vec![
                VolumeProjection {
                    service_account_token: Some(ServiceAccountTokenProjection {
                        expiration_seconds: Some(TOKEN_SECONDS),
                        path: "token".into(),
                        audience: None,
                    }),
                    ..VolumeProjection::default()
                },
                VolumeProjection {
                    config_map: Some(ConfigMapProjection {
                        name: "kube-root-ca.crt".into(),
                        items: Some(vec![KeyToPath {
                            key: "ca.crt".into(),
                            path: "ca.crt".into(),
                            mode: None,
                        }]),
                        optional: None,
                    }),
                    ..VolumeProjection::default()
                },
                VolumeProjection {
                    downward_api: Some(DownwardAPIProjection {
                        items: Some(vec![DownwardAPIVolumeFile {
                            path: "namespace".into(),
                            field_ref: Some(ObjectFieldSelector {
                                api_version: Some("v1".into()),
                                field_path: "metadata.namespace".into(),
                            }),
                            ..DownwardAPIVolumeFile::default()
                        }]),
                    }),
                    ..VolumeProjection::default()
                },
            ]),
        }),
        ..Volume::default()
    }
}

fn spread(identity: &Identity, domain: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: domain.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(selector(identity)),
        match_label_keys: Some(vec!["pod-template-hash".into()]),
        ..TopologySpreadConstraint::default()
    }
}

fn default_resources() -> ResourceRequirements {
    let quantities = |pairs: &[(&str, &str)]| -> BTreeMap<String, Quantity> {
        pairs
            .iter()
            .map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned())))
            .collect()
    };
    ResourceRequirements {
        requests: Some(quantities(&[("cpu", "50m"), ("memory", "32Mi")])),
        limits: Some(quantities(&[("memory", "256Mi")])),
        claims: None,
    }
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile {
        type_: "RuntimeDefault".into(),
        localhost_profile: None,
    }
}

fn filled<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::resolve::tests::resolved;

    fn built(spec: Value) -> Value {
        serde_json::to_value(build(&resolved(spec), "account-1")).unwrap()
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
        let spec =
            json!({"serving": {"certificate": {"source": "Secret", "secret": {"name": "tls"}}}});
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
        resolved.audit_webhook = Some(AuditWebhook {
            secret: "webhook".into(),
            key: "config".into(),
            hash: "sha256:1".into(),
            port: 443,
        });
        let deployment = serde_json::to_value(build(&resolved, "account-1")).unwrap();
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
        let template = |account| build(&resolved(json!({})), account).spec.unwrap().template;
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
}
