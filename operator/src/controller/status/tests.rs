mod issuers;
mod missing;

use std::{collections::BTreeSet, marker::PhantomData, time::Duration};

use oidcproxy_crds::state::IssuerState;
use serde_json::{Value, json};

use super::*;
use crate::{
    controller::{
        build::{self, Prepared, Published, Surroundings, grants},
        observe::pods::tests::{pods, state},
        resolve::tests::resolved,
        validate::tests::options,
    },
    pki::{authority::tests::authority, leaf::Leaf},
};

const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// As if the API server had returned what was sent.
fn foundation(resolved: &Resolved) -> Foundation<Applied> {
    let Foundation {
        service_account,
        cluster_role,
        cluster_role_binding,
        role,
        role_binding,
        network_policy,
        service,
        stage: _,
    }: Foundation<Prepared> = build::foundation(
        resolved,
        &grants(resolved.settings()),
        &Surroundings::default(),
        &options(),
    );
    Foundation {
        service_account,
        cluster_role,
        cluster_role_binding,
        role,
        role_binding,
        network_policy,
        service,
        stage: PhantomData,
    }
}

fn workload(resolved: &Resolved, deployment: &Value) -> Workload<Applied> {
    let published = Published {
        ca_bundle: None,
        endpoint: String::new(),
        server_name: String::new(),
        account_uid: String::new(),
    };
    let prepared = build::workload(resolved, resolved.settings(), &published);
    let mut applied = prepared.deployment;
    applied.metadata.generation = Some(2);
    applied.status = serde_json::from_value(deployment.clone()).unwrap();
    Workload {
        trust: prepared.trust,
        kubeconfig: prepared.kubeconfig,
        pod_disruption_budget: prepared.pod_disruption_budget,
        horizontal_pod_autoscaler: prepared.horizontal_pod_autoscaler,
        deployment: applied,
        stage: PhantomData,
    }
}

fn issued() -> Issued {
    let root = authority();
    let names: BTreeSet<String> = ["corp.auth.svc".to_owned()].into();
    let leaf = Leaf::issue(
        &root,
        "corp",
        &names,
        Duration::from_hours(2160),
        Timestamp::now(),
    );
    let leaf = leaf.unwrap();
    Issued {
        ca_bundle: Some(root.bundle()),
        authorities: Some(Authorities {
            not_after: root.not_after(),
            previous_not_after: None,
        }),
        facts: Some(leaf.facts),
        fault: None,
        server_name: "corp.auth.svc".into(),
    }
}

fn available() -> Value {
    json!({"observedGeneration": 2, "conditions": [{"type": "Available", "status": "True"}]})
}

/// A pass in which everything went well.
pub(in crate::controller) fn good(spec: Value) -> Progress {
    let resolved = resolved(spec);
    let issued = issued();
    let one = state(
        &resolved.settings().revision,
        &issued.facts.as_ref().unwrap().serial,
        IssuerState::Ready,
    );
    Progress {
        foundation: Some(foundation(&resolved)),
        workload: Some(workload(&resolved, &available())),
        pods: Some(pods(vec![Some(one.clone()), Some(one)])),
        kept: None,
        handshake: Some(Ok(())),
        waits_for_turn: false,
        faults: Faults::default(),
        problem: None,
        issued: Some(issued),
        resolved: Some(resolved),
    }
}

fn status_of(previous: &OidcProxyStatus, progress: &Progress) -> OidcProxyStatus {
    let identity = resolved(json!({})).identity;
    derive(previous, &identity, 3, progress, now())
}

fn of(progress: &Progress) -> OidcProxyStatus {
    status_of(&OidcProxyStatus::default(), progress)
}

/// `status reason` of a condition.
fn says(status: &OidcProxyStatus, type_: &str) -> Option<String> {
    let all = status.conditions.iter();
    all.clone()
        .find(|condition| condition.type_ == type_)
        .map(|condition| format!("{} {}", condition.status, condition.reason))
}

fn ready(progress: &Progress) -> String {
    says(&of(progress), "Ready").unwrap()
}

#[test]
fn from_first_sight_everything_is_unknown() {
    let status = first_sight(&OidcProxyStatus::default(), 1, now());
    assert_eq!(status.conditions.len(), types::STANDING.len() + 1);
    for type_ in types::STANDING {
        assert_eq!(says(&status, type_).unwrap(), "Unknown Pending");
    }
    assert_eq!(says(&status, "Reconciling").unwrap(), "True Pending");
    assert_eq!(status.observed_generation, None);
}

#[test]
fn when_all_is_well_nothing_but_the_standing_conditions_is_there() {
    let progress = good(json!({"serving": {"hostnames": ["k8s.example.com"]}}));
    let status = of(&progress);
    for type_ in types::STANDING {
        assert!(
            is_true(&status, type_),
            "{type_}: {:?}",
            says(&status, type_)
        );
    }
    assert_eq!(status.conditions.len(), types::STANDING.len());
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(status.endpoint.as_deref(), Some("https://k8s.example.com"));
    let replicas = status.replicas.unwrap();
    assert_eq!(
        (replicas.desired, replicas.ready, replicas.current),
        (2, 2, 2)
    );
    assert_eq!(status.issuers[0].state, IssuerState::Ready);
    assert_eq!(
        status_of(&status, &progress),
        status,
        "a steady state says nothing new"
    );
}

#[test]
fn doubtful_names_are_a_warning_and_nothing_worse() {
    let progress = good(json!({"authentication": {"jwt": [{
        "name": "corp",
        "issuer": {"url": "https://id.example.com", "audiences": ["a"]},
        "claimMappings": {
            "username": {"claim": "sub", "prefix": "corp:"},
            "groups": {"claim": "groups", "prefix": ""},
        },
    }]}}));
    let status = of(&progress);
    assert_eq!(
        says(&status, "MappingWarning").unwrap(),
        "True NamesOverlap"
    );
    assert!(is_true(&status, types::READY));
}

#[test]
fn ready_waits_for_each_link_of_the_chain() {
    let mut progress = good(json!({}));
    progress.handshake = Some(Err("refused".into()));
    assert_eq!(ready(&progress), "False HandshakeFailed");

    let mut progress = good(json!({}));
    progress
        .pods
        .as_mut()
        .unwrap()
        .states
        .insert("corp-9".into(), None);
    assert_eq!(ready(&progress), "False ProxiesNotCurrent");
    assert_eq!(says(&of(&progress), "Serving").unwrap(), "True Serving");

    let mut progress = good(json!({}));
    progress.pods = Some(pods(vec![Some(state("old", "old", IssuerState::Ready))]));
    assert_eq!(ready(&progress), "False ProxiesNotCurrent");

    let mut progress = good(json!({}));
    progress.pods = Some(Pods::default());
    assert_eq!(ready(&progress), "False NoReadyPods");
    assert_eq!(
        says(&of(&progress), "Serving").unwrap(),
        "False NoPodServes"
    );

    let balancer = good(json!({"service": {"type": "LoadBalancer"}}));
    assert_eq!(ready(&balancer), "False EndpointPending");
    assert_eq!(
        says(&of(&balancer), "Reconciling").unwrap(),
        "True EndpointPending"
    );
    let named = good(json!({"service": {"type": "LoadBalancer"}, "serving": {"hostnames": ["a"]}}));
    assert_eq!(ready(&named), "True Ready");
}

#[test]
fn a_deployment_counts_at_its_newest_generation() {
    let rows = [
        (json!({}), "False DeploymentProgressing"),
        (
            json!({"observedGeneration": 1, "conditions": [{"type": "Available", "status": "True"}]}),
            "False DeploymentProgressing",
        ),
        (
            json!({"observedGeneration": 2}),
            "False DeploymentUnavailable",
        ),
        (
            json!({"observedGeneration": 2, "conditions": [{"type": "Available", "status": "False"}]}),
            "False DeploymentUnavailable",
        ),
    ];
    for (deployment, expected) in rows {
        let mut progress = good(json!({}));
        let resolved = progress.resolved.as_ref().unwrap();
        progress.workload = Some(workload(resolved, &deployment));
        assert_eq!(ready(&progress), expected, "{deployment}");
    }
}

#[test]
fn a_refused_spec_leaves_what_serves() {
    let before = of(&good(json!({})));
    let good_pods = good(json!({})).pods;
    let refusal = Refusal::new(Reason::InvalidSpec, "spec.x: wrong");
    let progress = Progress {
        problem: Some((&refusal).into()),
        pods: good_pods,
        ..Progress::default()
    };
    let after = status_of(&before, &progress);
    assert_eq!(after.settings, before.settings);
    assert_eq!(after.certificate, before.certificate);
    assert_eq!(says(&after, "Stalled").unwrap(), "True InvalidSpec");
    assert_eq!(says(&after, "Ready").unwrap(), "False InvalidSpec");
    assert_eq!(says(&after, "SpecValid").unwrap(), "False InvalidSpec");
    assert_eq!(says(&after, "Serving").unwrap(), "True Serving");
    assert_eq!(says(&after, "RBACReady").unwrap(), "True Granted");
    assert_eq!(says(&after, "Reconciling"), None);

    let again = status_of(&after, &good(json!({})));
    assert_eq!(says(&again, "Stalled"), None);
}

#[test]
fn settings_are_published_only_over_rights_and_a_certificate() {
    let mut progress = good(json!({}));
    progress.foundation = None;
    progress.problem = Some(Problem::of(types::RBAC_READY, "Forbidden", "no".into()));
    let status = of(&progress);
    assert!(status.settings.is_none());
    assert_eq!(says(&status, "RBACReady").unwrap(), "False Forbidden");
    assert_eq!(says(&status, "SpecValid").unwrap(), "True Valid");
    assert_eq!(says(&status, "Stalled"), None);
    assert_eq!(says(&status, "Reconciling").unwrap(), "True Forbidden");
}

#[test]
fn a_bad_certificate_of_somebody_elses_holds_up_nothing_but_ready() {
    let before = of(&good(json!({})));
    let mut progress = good(json!({"authentication": {"reservedPrefixes": ["new:"]}}));
    let issued = progress.issued.as_mut().unwrap();
    issued.facts = None;
    issued.fault = Some(Fault {
        reason: "Unusable",
        message: "Secret tls: no".into(),
    });
    let after = status_of(&before, &progress);
    assert_ne!(after.settings, before.settings);
    assert_eq!(after.certificate, before.certificate);
    assert_eq!(
        says(&after, "ServingCertificateReady").unwrap(),
        "False Unusable"
    );
    assert_eq!(says(&after, "Ready").unwrap(), "False Unusable");
    assert_eq!(says(&after, "Serving").unwrap(), "True Serving");
    assert_eq!(says(&after, "Stalled"), None);
}

#[test]
fn the_end_of_an_older_root_is_published_while_it_lasts() {
    let mut progress = good(json!({}));
    let end = Timestamp::from_second(NOW + 5).unwrap();
    let authorities = progress.issued.as_mut().unwrap().authorities.as_mut();
    authorities.unwrap().previous_not_after = Some(end);
    let certificate = of(&progress).certificate.unwrap();
    assert_eq!(certificate.previous_authority_not_after, Some(Time(end)));
}

#[test]
fn what_is_wrong_beside_is_said_and_does_not_touch_ready() {
    let mut progress = good(json!({"metrics": {"podMonitor": {}}}));
    assert_eq!(
        says(&of(&progress), "PodMonitorReady").unwrap(),
        "True Applied"
    );
    assert_eq!(says(&of(&good(json!({}))), "PodMonitorReady"), None);
    let fault = |reason| Some(Fault::new(reason, "x".into()));
    progress.faults = Faults {
        exposure: fault("GatewayAPINotInstalled"),
        pod_monitor: fault("PrometheusOperatorNotInstalled"),
        network_policy: fault("APIEndpointsUnknown"),
        rbac: fault("GrantMissing"),
    };
    let status = of(&progress);
    for (type_, expected) in [
        ("EndpointReady", "False GatewayAPINotInstalled"),
        ("PodMonitorReady", "False PrometheusOperatorNotInstalled"),
        ("NetworkPolicyApplied", "False APIEndpointsUnknown"),
        ("RBACReady", "False GrantMissing"),
        ("Ready", "True Ready"),
    ] {
        assert_eq!(says(&status, type_).unwrap(), expected);
    }
}

#[test]
fn what_waits_for_its_turn_serves_on() {
    let mut progress = good(json!({}));
    progress.waits_for_turn = true;
    let status = of(&progress);
    assert_eq!(says(&status, "Reconciling").unwrap(), "True WaitingForTurn");
    assert_eq!(says(&status, "Ready").unwrap(), "True Ready");
}

#[test]
fn an_autoscaler_says_how_many_are_wanted() {
    let mut progress = good(json!({"deployment": {"autoscaling": {"maxReplicas": 9}}}));
    assert_eq!(of(&progress).replicas.unwrap().desired, 2);
    let workload = progress.workload.as_mut().unwrap();
    workload.deployment.spec.as_mut().unwrap().replicas = Some(5);
    assert_eq!(of(&progress).replicas.unwrap().desired, 5);
}
