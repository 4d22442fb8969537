//! The pods. Nothing of the settings is in here: the proxies take new ones in while they run.

mod volumes;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, Container, ContainerPort, HTTPGetAction, PodSecurityContext, PodSpec,
            PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecurityContext,
            TopologySpreadConstraint,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use oidcproxy_crds::v1alpha1::settings::{DrainSettings, Settings};

pub use self::volumes::mounted;
use self::volumes::{SERVING_PATH, annotations, mounts, volumes};
use super::{ADMIN, ADMIN_PORT, HTTPS_PORT, SECURE_PORT};
use crate::controller::{
    identity::Identity,
    resolve::{Resolved, Scaling},
};

const CONTAINER: &str = "proxy";
const NON_ROOT: i64 = 65_532;

/// For what a leaving pod does beside waiting.
const GRACE_SECONDS: i64 = 10;

/// Tokens are bound to an account's UID, and the kubelet renews them minutes after the account is another: pods of the
/// one before are replaced.
const ACCOUNT_UID: &str = "oidcproxy.dev/service-account-uid";

pub(super) fn build(resolved: &Resolved, settings: &Settings, account_uid: &str) -> Deployment {
    let identity = &resolved.identity;
    Deployment {
        metadata: ObjectMeta {
            annotations: Some(annotations(resolved)),
            ..identity.child(&identity.name)
        },
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
                spec: Some(pod(resolved, settings.drain)),
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

fn pod(resolved: &Resolved, drain: DrainSettings) -> PodSpec {
    let given = &resolved.deployment;
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
mod tests;
