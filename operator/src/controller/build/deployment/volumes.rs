//! What the pods mount: the certificate, their token, and the audit webhook's kubeconfig.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{
        ConfigMapProjection, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath,
        ObjectFieldSelector, ProjectedVolumeSource, SecretVolumeSource,
        ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
    },
};
use kube::ResourceExt as _;

use crate::controller::{
    resolve::{HTTPS, Mounted, Resolved},
    validate::audit::{AuditWebhook, WEBHOOK_MOUNT},
};

const SERVING: &str = "serving";
pub(super) const SERVING_PATH: &str = "/etc/oidc-proxy/serving";
/// Where the proxy looks for Secrets that its settings speak of.
const MOUNTS_PATH: &str = "/etc/oidc-proxy";
const TOKEN: &str = "token";
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const TOKEN_SECONDS: i64 = 600;

/// The webhook as it is mounted, for the time when its Secret cannot be read.
const AUDIT_WEBHOOK: &str = "oidcproxy.dev/audit-webhook";
/// The generation of the spec that the pods are made for.
const SPEC_GENERATION: &str = "oidcproxy.dev/spec-generation";

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

/// What a Deployment's pods mount. The volume does not tell all about a webhook, so an annotation does.
pub fn mounted(deployment: &Deployment) -> Mounted {
    let pod = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    let secret = |name: &str| {
        let mut volumes = pod.iter().flat_map(|pod| &pod.volumes).flatten();
        volumes
            .find(|volume| volume.name == name)
            .and_then(|volume| volume.secret.as_ref())
    };
    let annotations = deployment.annotations();
    let annotated = annotations.get(AUDIT_WEBHOOK);
    let annotated = annotated.and_then(|text| serde_json::from_str(text).ok());
    Mounted {
        serving_secret: secret(SERVING).and_then(|secret| secret.secret_name.clone()),
        audit_webhook: annotated.or_else(|| unannotated(secret(WEBHOOK_MOUNT)?)),
        generation: annotations
            .get(SPEC_GENERATION)
            .and_then(|text| text.parse().ok()),
    }
}

/// Earlier operators told of the webhook in the volume alone, which has no port.
fn unannotated(secret: &SecretVolumeSource) -> Option<AuditWebhook> {
    Some(AuditWebhook {
        secret: secret.secret_name.clone()?,
        key: secret.items.as_ref()?.first()?.key.clone(),
        hash: String::new(),
        port: HTTPS,
    })
}

/// What the Deployment itself says of it.
pub(super) fn annotations(resolved: &Resolved) -> BTreeMap<String, String> {
    let webhook = resolved.audit_webhook.as_ref();
    let webhook = webhook.and_then(|webhook| serde_json::to_string(webhook).ok());
    let generation = resolved.running.generation(resolved.generation);
    [
        (AUDIT_WEBHOOK, webhook),
        (SPEC_GENERATION, generation.map(|number| number.to_string())),
    ]
    .into_iter()
    .filter_map(|(name, text)| Some((name.to_owned(), text?)))
    .collect()
}

/// The certificate; of somebody else's Secret nothing more than that.
pub(super) fn mounts(resolved: &Resolved) -> Vec<VolumeMount> {
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

pub(super) fn volumes(resolved: &Resolved) -> Vec<Volume> {
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
            // Not optional: pods without it would take the place of those that still send events.
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
