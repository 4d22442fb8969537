//! What each condition says.

use k8s_openapi::api::apps::v1::Deployment;
use oidcproxy_crds::{
    state::IssuerState,
    v1alpha1::{
        OidcProxyStatus, conditions as types,
        status::{IssuerStatus, ReplicaStatus},
    },
};

use super::Progress;
use crate::controller::{certificates::load_balancer_addresses, refusal::Fault};

/// What a condition says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Verdict {
    pub(super) status: Option<bool>,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Verdict {
    fn new(status: Option<bool>, reason: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    fn yes(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Some(true), reason, message)
    }

    fn fault(fault: &Fault) -> Self {
        Self::no(fault.reason, fault.message.as_str())
    }

    pub(super) fn no(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Some(false), reason, message)
    }
}

/// Whether users can log in with what the spec says now.
pub(super) fn ready(progress: &Progress, replicas: ReplicaStatus) -> Verdict {
    if let Some(problem) = &progress.problem {
        return Verdict::no(&problem.reason, &problem.message);
    }
    let fault = progress
        .issued
        .as_ref()
        .and_then(|issued| issued.fault.as_ref());
    if let Some(fault) = fault {
        return Verdict::fault(fault);
    }
    let (Some(workload), Some(pods)) = (&progress.workload, &progress.pods) else {
        return Verdict::no(
            "Progressing",
            "the proxies are about to take in new settings",
        );
    };
    let deployment = deployment(&workload.deployment);
    if deployment.status != Some(true) {
        return deployment;
    }
    if replicas.ready == 0 {
        return Verdict::no("NoReadyPods", "the Service has no ready pods");
    }
    if replicas.current < replicas.ready {
        let waiting = "not every ready pod runs the current settings with the current certificate";
        let message = pods
            .settings_error()
            .map_or_else(|| waiting.to_owned(), |error| format!("{waiting}: {error}"));
        return Verdict::no("ProxiesNotCurrent", message);
    }
    match &progress.handshake {
        Some(Ok(())) => {}
        Some(Err(error)) => return Verdict::no("HandshakeFailed", error.as_str()),
        None => return Verdict::no("Progressing", "the Service has not been tried yet"),
    }
    if let Some(waiting) = waits_for_address(progress) {
        return waiting;
    }
    Verdict::yes(
        "Ready",
        "every pod serves the current settings with the current certificate",
    )
}

/// The other conditions; nothing where this pass has not come so far.
pub(super) fn standing(
    type_: &str,
    progress: &Progress,
    status: &OidcProxyStatus,
) -> Option<Verdict> {
    let faults = &progress.faults;
    match type_ {
        types::SERVING => progress.pods.as_ref().map(|pods| {
            if pods.any_serves() {
                Verdict::yes("Serving", "at least one pod answers")
            } else {
                Verdict::no(
                    "NoPodServes",
                    "no ready pod reports settings that it runs with",
                )
            }
        }),
        types::SPEC_VALID => {
            progress
                .resolved
                .as_ref()
                .map(|resolved| match resolved.running.missing() {
                    Some(missing) => Verdict::no(missing.reason.as_str(), missing.message.as_str()),
                    None => Verdict::yes(
                        "Valid",
                        "the spec is valid and all that it refers to is there",
                    ),
                })
        }
        types::CERTIFICATE_READY => progress.issued.as_ref().map(|issued| match &issued.fault {
            Some(fault) => Verdict::fault(fault),
            None => Verdict::yes("Issued", "the serving certificate is in its Secret"),
        }),
        types::RBAC_READY if faults.rbac.is_some() => faults.rbac.as_ref().map(Verdict::fault),
        types::NETWORK_POLICY_APPLIED if faults.network_policy.is_some() => {
            faults.network_policy.as_ref().map(Verdict::fault)
        }
        types::ENDPOINT_READY if faults.exposure.is_some() => {
            waits_for_address(progress).or_else(|| faults.exposure.as_ref().map(Verdict::fault))
        }
        types::RBAC_READY => progress.foundation.as_ref().map(|_| {
            Verdict::yes(
                "Granted",
                "the proxy holds the rights that its settings need",
            )
        }),
        types::DEPLOYMENT_AVAILABLE => progress
            .workload
            .as_ref()
            .map(|workload| deployment(&workload.deployment)),
        types::NETWORK_POLICY_APPLIED => progress.foundation.as_ref().map(|foundation| {
            if foundation.network_policy.is_some() {
                Verdict::yes(
                    "Applied",
                    "the NetworkPolicy is applied; enforcing it is up to the cluster",
                )
            } else {
                Verdict::no("Disabled", "spec.networkPolicy.mode is Disabled")
            }
        }),
        types::ENDPOINT_READY => progress.foundation.as_ref().map(|_| {
            waits_for_address(progress).unwrap_or_else(|| {
                Verdict::yes("Known", "status.endpoint says where users reach the proxy")
            })
        }),
        types::ISSUERS_REACHABLE => progress.pods.as_ref().map(|pods| {
            if pods.has_reports() && status.settings.is_some() {
                issuers(&status.issuers)
            } else {
                let message = "no ready pod has said anything of its issuers yet";
                Verdict::new(None, "NoProxyReports", message)
            }
        }),
        _ => None,
    }
}

/// Of the PodMonitor that is asked for; nothing where this pass has not come so far.
pub(super) fn pod_monitor(progress: &Progress) -> Option<Verdict> {
    progress.workload.as_ref()?;
    let fault = progress.faults.pod_monitor.as_ref();
    Some(fault.map_or_else(
        || Verdict::yes("Applied", "the PodMonitor is applied"),
        Verdict::fault,
    ))
}

fn deployment(deployment: &Deployment) -> Verdict {
    let status = deployment.status.clone().unwrap_or_default();
    if status.observed_generation < deployment.metadata.generation {
        return Verdict::no(
            "DeploymentProgressing",
            "the Deployment's newest generation is not observed yet",
        );
    }
    let condition = |type_: &str| {
        let all = status.conditions.iter().flatten();
        all.clone().find(|condition| condition.type_ == type_)
    };
    if condition("Available").is_some_and(|available| available.status == "True") {
        return Verdict::yes("Available", "the Deployment is available");
    }
    let stuck = condition("ReplicaFailure")
        .or_else(|| condition("Progressing").filter(|progressing| progressing.status == "False"));
    match stuck {
        Some(stuck) => {
            let detail = stuck.reason.clone().unwrap_or_default();
            Verdict::no(
                "DeploymentUnavailable",
                format!("the Deployment is not available: {detail}"),
            )
        }
        None => Verdict::no(
            "DeploymentUnavailable",
            "the Deployment is not available yet",
        ),
    }
}

fn waits_for_address(progress: &Progress) -> Option<Verdict> {
    let (resolved, foundation) = (progress.resolved.as_ref()?, progress.foundation.as_ref()?);
    let pending = resolved.waits_for_load_balancer()
        && load_balancer_addresses(&foundation.service).is_empty();
    pending.then(|| Verdict::no("EndpointPending", "the load balancer has no address yet"))
}

fn issuers(issuers: &[IssuerStatus]) -> Verdict {
    let named = |state: IssuerState| -> Vec<&str> {
        let all = issuers.iter().filter(|issuer| issuer.state == state);
        all.map(|issuer| issuer.name.as_str()).collect()
    };
    let failed = named(IssuerState::Failed);
    if !failed.is_empty() {
        return Verdict::no(
            "IssuerUnreachable",
            format!("no keys of these issuers: {}", failed.join(", ")),
        );
    }
    let pending = named(IssuerState::Pending);
    if !pending.is_empty() {
        return Verdict::new(
            None,
            "NotAskedYet",
            format!(
                "no proxy has asked these issuers yet: {}",
                pending.join(", ")
            ),
        );
    }
    let degraded = named(IssuerState::Degraded);
    if !degraded.is_empty() {
        return Verdict::yes(
            "Degraded",
            format!(
                "keys of these issuers could not be refreshed: {}",
                degraded.join(", ")
            ),
        );
    }
    Verdict::yes("Reachable", "the proxies have every issuer's keys")
}
