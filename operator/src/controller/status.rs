//! Last step: what has come of the spec, in words. Derived from what was applied and observed,
//! never from what was only prepared.

mod conditions;
pub mod damper;
mod endpoint;
mod ready;
mod refused;
pub mod writer;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use oidcproxy_crds::v1alpha1::{
    OidcProxyStatus, conditions as types,
    issuer_rules::doubtful_mappings,
    status::{CertificateStatus, ReplicaStatus},
};

use self::conditions::Conditions;
pub use self::{endpoint::endpoint, refused::refused};
use super::{
    build::{Applied, Foundation, Workload},
    certificates::{Authorities, Issued, Kept},
    identity::Identity,
    observe::pods::Pods,
    refusal::{Fault, Reason, Refusal, truncated},
    resolve::Resolved,
};
use crate::pki::leaf::Facts;

/// How far one pass has come. What is not there yet keeps what the status said before.
#[derive(Debug, Default)]
pub struct Progress {
    /// The spec with its defaults.
    pub resolved: Option<Resolved>,
    /// Rights and Service.
    pub foundation: Option<Foundation<Applied>>,
    /// The certificates.
    pub issued: Option<Issued>,
    /// The certificate that is kept alive where none was asked for.
    pub kept: Option<Kept>,
    /// The Deployment and what is published for users.
    pub workload: Option<Workload<Applied>>,
    /// What the pods say.
    pub pods: Option<Pods>,
    /// Whether the Service answers as clients expect.
    pub handshake: Option<Result<(), String>>,
    /// A new image waits until another's rollout is done.
    pub waits_for_turn: bool,
    /// What is wrong beside.
    pub faults: Faults,
    /// Why it went no further.
    pub problem: Option<Problem>,
}

/// What is wrong and holds up nothing else.
#[derive(Debug, Default)]
pub struct Faults {
    /// A grant that does not have its effect.
    pub rbac: Option<Fault>,
    /// A NetworkPolicy that is wider than asked for.
    pub network_policy: Option<Fault>,
    /// A route that could not be made.
    pub exposure: Option<Fault>,
    /// A PodMonitor that could not be made.
    pub pod_monitor: Option<Fault>,
}

/// Why a pass went no further.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The condition that is false for it.
    pub condition: &'static str,
    /// In one word.
    pub reason: String,
    /// In a sentence.
    pub message: String,
    /// Whether somebody has to change something first.
    pub stalled: bool,
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        Self {
            condition: types::SPEC_VALID,
            reason: refusal.reason.as_str().to_owned(),
            message: refusal.message.clone(),
            stalled: true,
        }
    }
}

impl Problem {
    /// Something that is not the spec's fault.
    pub fn of(condition: &'static str, reason: &str, message: String) -> Self {
        Self {
            condition,
            reason: reason.to_owned(),
            message: truncated(message),
            stalled: reason == Reason::Conflict.as_str(),
        }
    }
}

impl Progress {
    /// The revision that the pods should run, and the certificate that they should serve with.
    fn current<'a>(&'a self, previous: &'a OidcProxyStatus) -> Option<(&'a str, &'a str)> {
        let issued = self.issued.as_ref();
        let resolved = self.resolved.as_ref().filter(|_| issued.is_some());
        let next = resolved.and_then(|resolved| resolved.running.settings());
        let revision = next.map(|settings| settings.revision.as_str());
        let facts = issued.and_then(|issued| issued.facts.as_ref());
        let facts = facts.or_else(|| Some(&self.kept.as_ref()?.facts));
        let serial = facts.map(|facts| facts.serial.as_str());
        let settings = previous.settings.as_ref();
        let certificate = previous.certificate.as_ref();
        Some((
            revision.or_else(|| Some(settings?.revision.as_str()))?,
            serial.or_else(|| Some(certificate?.serial.as_str()))?,
        ))
    }
}

/// The conditions of an object that nobody has looked at yet.
pub fn first_sight(previous: &OidcProxyStatus, generation: i64, now: Timestamp) -> OidcProxyStatus {
    let mut conditions = Conditions::new(&previous.conditions, generation, now);
    for type_ in types::STANDING {
        conditions.keep(type_);
    }
    conditions.set(
        types::RECONCILING,
        Some(true),
        "Pending",
        "the operator has seen it",
    );
    OidcProxyStatus {
        conditions: conditions.finish(),
        ..previous.clone()
    }
}

/// The status after this pass.
pub fn derive(
    previous: &OidcProxyStatus,
    identity: &Identity,
    generation: i64,
    progress: &Progress,
    now: Timestamp,
) -> OidcProxyStatus {
    let mut status = OidcProxyStatus {
        observed_generation: Some(generation),
        ..previous.clone()
    };
    // Settings are published when what they need is there: the rights and the certificate.
    if let (Some(resolved), Some(foundation), Some(issued)) =
        (&progress.resolved, &progress.foundation, &progress.issued)
    {
        if let Some(settings) = resolved.running.settings() {
            status.settings = Some(settings.clone());
        }
        status.endpoint = Some(endpoint(resolved, &foundation.service));
        status.ca_bundle.clone_from(&issued.ca_bundle);
        if let Some(facts) = &issued.facts {
            status.certificate = Some(certificate(facts, issued.authorities));
        }
        status.selector = Some(selector(identity));
        status.replicas.get_or_insert_default().desired = resolved.scaling.least();
    }
    if let Some(kept) = &progress.kept {
        status.certificate = Some(certificate(&kept.facts, Some(kept.authorities)));
    }
    if let Some(workload) = &progress.workload {
        let spec = workload.deployment.spec.as_ref();
        if let Some(desired) = spec.and_then(|spec| spec.replicas) {
            status.replicas.get_or_insert_default().desired = desired;
        }
    }
    if let Some(pods) = &progress.pods {
        let replicas = status.replicas.get_or_insert_default();
        replicas.ready = pods.ready();
        replicas.current = progress
            .current(previous)
            .map_or(0, |(revision, serial)| pods.current(revision, serial));
        if let Some(settings) = &status.settings {
            let names = settings
                .authentication
                .issuers
                .iter()
                .map(|issuer| issuer.name.as_str());
            status.issuers = pods.issuers(names);
        }
    }
    let replicas = status.replicas.unwrap_or_default();
    status.conditions = all_conditions(previous, &status, replicas, generation, progress, now);
    status
}

fn all_conditions(
    previous: &OidcProxyStatus,
    status: &OidcProxyStatus,
    replicas: ReplicaStatus,
    generation: i64,
    progress: &Progress,
    now: Timestamp,
) -> Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    let mut conditions = Conditions::new(&previous.conditions, generation, now);
    let ready = ready::ready(progress, replicas);
    let problem = progress.problem.as_ref();
    for type_ in types::STANDING {
        let verdict = match problem.filter(|problem| problem.condition == type_) {
            Some(problem) => Some(ready::Verdict::no(&problem.reason, &problem.message)),
            None if type_ == types::READY => Some(ready.clone()),
            None => ready::standing(type_, progress, status),
        };
        conditions.say(type_, verdict);
    }
    let mut known = previous.conditions.iter();
    let is_asked = match &progress.resolved {
        Some(resolved) => resolved.pod_monitor.is_some(),
        None => known.any(|condition| condition.type_ == types::POD_MONITOR_READY),
    };
    if is_asked {
        conditions.say(types::POD_MONITOR_READY, ready::pod_monitor(progress));
    }
    let settings = status.settings.as_ref();
    let doubtful = settings.map_or_else(Vec::new, |settings| {
        doubtful_mappings(&settings.authentication.issuers)
    });
    if !doubtful.is_empty() {
        let doubts: Vec<_> = doubtful
            .iter()
            .map(|doubt| format!("spec.authentication.{doubt}"))
            .collect();
        let message = truncated(doubts.join("; "));
        conditions.set(types::MAPPING_WARNING, Some(true), "NamesOverlap", &message);
    }
    match problem {
        Some(problem) if problem.stalled => {
            conditions.set(
                types::STALLED,
                Some(true),
                &problem.reason,
                &problem.message,
            );
        }
        _ if ready.status != Some(true) => {
            conditions.set(
                types::RECONCILING,
                Some(true),
                &ready.reason,
                &ready.message,
            );
        }
        _ if progress.waits_for_turn => {
            let message = "the new image waits until that of another OidcProxy is rolled out";
            conditions.set(types::RECONCILING, Some(true), "WaitingForTurn", message);
        }
        _ => {}
    }
    conditions.finish()
}

/// What is published of a certificate.
pub fn certificate(facts: &Facts, authorities: Option<Authorities>) -> CertificateStatus {
    CertificateStatus {
        not_after: Time(facts.not_after),
        serial: facts.serial.clone(),
        authority_not_after: authorities.map(|all| Time(all.not_after)),
        previous_authority_not_after: authorities.and_then(|all| all.previous_not_after).map(Time),
    }
}

fn selector(identity: &Identity) -> String {
    let pairs: Vec<String> = identity
        .selector()
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

/// Whether a condition of this type is true.
pub fn is_true(status: &OidcProxyStatus, type_: &str) -> bool {
    status
        .conditions
        .iter()
        .any(|condition| condition.type_ == type_ && condition.status == "True")
}

#[cfg(test)]
pub(super) mod tests;
