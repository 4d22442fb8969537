//! Where the spec refers to what is not there.

use super::*;
use crate::controller::resolve::{LastGood, Mounted, Running};

#[test]
fn a_missing_reference_takes_back_nothing_and_the_rest_is_said() {
    let before = of(&good(json!({})));
    let mut progress = good(json!({"serving": {"hostnames": ["k8s.example.com"]}}));
    let resolved = progress.resolved.as_mut().unwrap();
    let missing = Refusal::new(Reason::ReferenceNotFound, "spec.x: not there");
    let last = LastGood {
        settings: before.settings.clone().unwrap(),
        ca_bundle: before.ca_bundle.clone(),
        mounted: Mounted::default(),
    };
    resolved.running = Running::LastGood(Box::new(last), missing.clone());
    // Something else is wrong, too.
    progress.problem = Some(Problem::of(
        types::ENDPOINT_READY,
        "ApplyFailed",
        "x".into(),
    ));
    let after = status_of(&before, &progress);
    assert_eq!(after.settings, before.settings);
    assert_eq!(after.endpoint.as_deref(), Some("https://k8s.example.com"));
    assert_eq!(
        says(&after, "SpecValid").unwrap(),
        "False ReferenceNotFound"
    );
    assert_eq!(says(&after, "RBACReady").unwrap(), "True Granted");

    progress.problem = Some((&missing).into());
    let resolved = progress.resolved.as_mut().unwrap();
    resolved.running = Running::Nothing(missing);
    let first = of(&progress);
    assert!(first.settings.is_none() && first.certificate.is_some());
    assert_eq!(says(&first, "Ready").unwrap(), "False ReferenceNotFound");
    assert_eq!(says(&first, "Stalled").unwrap(), "True ReferenceNotFound");
}

#[test]
fn a_certificate_that_is_renewed_meanwhile_is_said() {
    let before = of(&good(json!({})));
    let refusal = Refusal::new(Reason::InvalidSpec, "spec.x: wrong");
    let Issued {
        facts, authorities, ..
    } = issued();
    let (facts, authorities) = (facts.unwrap(), authorities.unwrap());
    let serial = facts.serial.clone();
    let progress = Progress {
        problem: Some((&refusal).into()),
        pods: Some(pods(vec![Some(state(
            &before.settings.as_ref().unwrap().revision,
            &serial,
            IssuerState::Ready,
        ))])),
        kept: Some(Kept { facts, authorities }),
        ..Progress::default()
    };
    let after = status_of(&before, &progress);
    assert_ne!(after.certificate, before.certificate);
    assert_eq!(after.certificate.unwrap().serial, serial);
    assert_eq!(
        after.replicas.unwrap().current,
        1,
        "the pod has the new one"
    );
}
