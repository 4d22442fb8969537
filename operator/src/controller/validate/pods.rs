//! The pods, how they leave, and the kubeconfig that leads to them.

use std::time::Duration;

use oidcproxy_crds::{
    OidcProxySpec,
    v1alpha1::{deployment::Deployment, kubeconfig::Kubeconfig, lifecycle::Drain},
};

use super::Findings;

/// The longest that a leaving pod may take for either part.
const MAX_DRAIN: Duration = Duration::from_hours(24);

pub(super) fn check(spec: &OidcProxySpec, findings: &mut Findings) {
    if let Some(deployment) = &spec.deployment {
        check_deployment(deployment, findings);
    }
    if let Some(service) = &spec.service {
        check_labels(service.labels.keys(), "service.labels", findings);
    }
    if let Some(drain) = &spec.drain {
        check_drain(drain, findings);
    }
    if let Some(kubeconfig) = &spec.kubeconfig {
        check_kubeconfig(kubeconfig, spec, findings);
    }
}

fn check_deployment(deployment: &Deployment, findings: &mut Findings) {
    check_labels(
        deployment.pod_labels.keys(),
        "deployment.podLabels",
        findings,
    );
    if deployment.replicas.is_some() && deployment.autoscaling.is_some() {
        findings.invalid("deployment", "replicas and autoscaling exclude each other");
    }
    if deployment.replicas.is_some_and(|replicas| replicas < 1) {
        findings.invalid("deployment.replicas", "must be at least 1");
    }
}

/// Labels under `app.kubernetes.io/` select the pods and say whose they are.
fn check_labels<'a>(keys: impl Iterator<Item = &'a String>, path: &str, findings: &mut Findings) {
    for key in keys {
        if key.starts_with("app.kubernetes.io/") || key.starts_with("oidcproxy.dev/") {
            findings.invalid(
                path,
                "labels of app.kubernetes.io and oidcproxy.dev are the operator's",
            );
        }
    }
}

fn check_drain(drain: &Drain, findings: &mut Findings) {
    for (field, value) in [("delay", drain.delay), ("deadline", drain.deadline)] {
        if value.is_some_and(|value| value.is_negative() || Duration::from(value) > MAX_DRAIN) {
            findings.invalid(format_args!("drain.{field}"), "must be between 0s and 24h");
        }
    }
}

fn check_kubeconfig(kubeconfig: &Kubeconfig, spec: &OidcProxySpec, findings: &mut Findings) {
    let issuer = kubeconfig.issuer.as_ref();
    if issuer.is_some_and(|name| {
        !spec
            .authentication
            .jwt
            .iter()
            .any(|entry| entry.name == *name)
    }) {
        findings.invalid(
            "kubeconfig.issuer",
            "must be the name of an entry of authentication.jwt",
        );
    }
    if kubeconfig.issuer.is_some() != kubeconfig.client_id.is_some() {
        findings.invalid("kubeconfig", "issuer and clientID go together");
    }
    if kubeconfig.client_id.is_none() && !kubeconfig.extra_scopes.is_empty() {
        findings.invalid("kubeconfig.extraScopes", "needs issuer and clientID");
    }
}
