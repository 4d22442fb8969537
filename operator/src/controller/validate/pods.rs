//! The pods, how they leave, and the kubeconfig that leads to them.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use oidcproxy_crds::{
    OidcProxySpec,
    v1alpha1::{
        deployment::{Autoscaling, Deployment},
        kubeconfig::Kubeconfig,
        lifecycle::{Drain, Limits, Sessions},
    },
};

use super::{Findings, durations::is_duration};
use crate::controller::options::Options;

/// The longest that a leaving pod may take for either part.
const MAX_DRAIN: Duration = Duration::from_hours(24);
/// A stream that ends within less is none.
const MIN_SESSION: Duration = Duration::from_secs(1);
const MAX_SESSION: Duration = Duration::from_hours(8760);

pub(super) fn check(spec: &OidcProxySpec, options: &Options, findings: &mut Findings) {
    if let Some(deployment) = &spec.deployment {
        if deployment.image.is_some() && !options.allow_image_override {
            let message = "needs an operator that allows it (its chart's allowImageOverride)";
            findings.invalid("deployment.image", message);
        }
        check_deployment(deployment, findings);
    }
    if let Some(service) = &spec.service {
        check_labels(service.labels.keys(), "service.labels", findings);
    }
    let metrics = spec.metrics.as_ref();
    if let Some(monitor) = metrics.and_then(|metrics| metrics.pod_monitor.as_ref()) {
        let path = "metrics.podMonitor.labels";
        check_labels(monitor.labels.keys(), path, findings);
    }
    if let Some(drain) = &spec.drain {
        check_drain(drain, findings);
    }
    if let Some(sessions) = &spec.sessions {
        check_sessions(sessions, findings);
    }
    if let Some(limits) = &spec.limits {
        check_limits(limits, findings);
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
    if let Some(autoscaling) = &deployment.autoscaling {
        check_autoscaling(autoscaling, deployment, findings);
    }
    if deployment.replicas.is_some_and(|replicas| replicas < 1) {
        findings.invalid("deployment.replicas", "must be at least 1");
    }
}

fn check_autoscaling(autoscaling: &Autoscaling, deployment: &Deployment, findings: &mut Findings) {
    if autoscaling
        .min_replicas
        .is_some_and(|min| min > autoscaling.max_replicas)
    {
        let message = "must not be above maxReplicas";
        findings.invalid("deployment.autoscaling.minReplicas", message);
    }
    let by_cpu =
        autoscaling.target_cpu_utilization.is_some() || autoscaling.target_streams.is_none();
    let has_cpu = |amounts: &Option<BTreeMap<String, Quantity>>| {
        amounts.as_ref().is_some_and(|all| all.contains_key("cpu"))
    };
    // A limit is a request where there is none.
    let unmeasured = deployment
        .resources
        .as_ref()
        .is_some_and(|given| !has_cpu(&given.requests) && !has_cpu(&given.limits));
    if by_cpu && unmeasured {
        let message = "autoscaling by CPU needs a request of cpu";
        findings.invalid("deployment.resources.requests", message);
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
    for (field, value) in [("delay", &drain.delay), ("deadline", &drain.deadline)] {
        let path = format!("drain.{field}");
        let bounds = (Duration::ZERO..=MAX_DRAIN, "between 0s and 24h");
        is_duration(value.as_ref(), &path, bounds, findings);
    }
}

fn check_sessions(sessions: &Sessions, findings: &mut Findings) {
    let given = [
        ("maxDuration", &sessions.max_duration),
        ("idleTimeout", &sessions.idle_timeout),
    ];
    for (field, value) in given {
        let path = format!("sessions.{field}");
        let bounds = (MIN_SESSION..=MAX_SESSION, "between 1s and 8760h");
        is_duration(value.as_ref(), &path, bounds, findings);
    }
}

/// The schema says the same; an older CRD may not.
fn check_limits(limits: &Limits, findings: &mut Findings) {
    let given = [
        ("connections", limits.connections, 1..=1_000_000),
        (
            "streamsPerConnection",
            limits.streams_per_connection,
            1..=10_000,
        ),
        ("headerBytes", limits.header_bytes, 8192..=1_048_576),
        ("headerCount", limits.header_count, 16..=10_000),
        ("requestsPerUser", limits.requests_per_user, 1..=1_000_000),
        (
            "unauthenticatedPerAddress",
            limits.unauthenticated_per_address,
            1..=1_000_000,
        ),
    ];
    for (field, value, range) in given {
        if value.is_some_and(|value| !range.contains(&value)) {
            let (least, most) = range.into_inner();
            findings.invalid(
                format_args!("limits.{field}"),
                format_args!("must be between {least} and {most}"),
            );
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
