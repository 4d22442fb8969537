//! What is said of issuers, and what hangs on it.

use super::*;

#[test]
fn issuers_do_not_decide_over_ready() {
    for (state_, expected) in [
        (IssuerState::Failed, "False IssuerUnreachable"),
        (IssuerState::Pending, "Unknown NotAskedYet"),
        (IssuerState::Degraded, "True Degraded"),
    ] {
        let mut progress = good(json!({}));
        for state in progress.pods.as_mut().unwrap().states.values_mut() {
            state.as_mut().unwrap().issuers[0].state = state_;
        }
        let status = of(&progress);
        assert_eq!(says(&status, "IssuersReachable").unwrap(), expected);
        assert_eq!(says(&status, "Ready").unwrap(), "True Ready");
    }
}

#[test]
fn of_issuers_nothing_is_known_while_no_pod_has_said_anything() {
    let unknown = Some("Unknown NoProxyReports".to_owned());
    for silent in [Pods::default(), pods(vec![None, None])] {
        let mut progress = good(json!({}));
        progress.pods = Some(silent.clone());
        assert_eq!(says(&of(&progress), "IssuersReachable"), unknown);
        // Nor before there are settings, and so names of issuers.
        let refusal = Refusal::new(Reason::InvalidSpec, "spec.x: wrong");
        let refused = Progress {
            problem: Some((&refusal).into()),
            pods: Some(silent),
            ..Progress::default()
        };
        assert_eq!(says(&of(&refused), "IssuersReachable"), unknown);
    }
}
