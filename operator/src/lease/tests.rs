use serde_json::json;

use super::*;

fn lease(holder: &str, version: &str) -> Lease {
    serde_json::from_value(json!({
        "metadata": {"name": "l", "resourceVersion": version},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 4},
    }))
    .unwrap()
}

#[tokio::test]
async fn a_free_lease_is_taken() {
    let now = Instant::now();
    assert_eq!(decide(None, "me", &mut None, now), Decision::Create);
    assert_eq!(
        decide(Some(&lease("", "1")), "me", &mut None, now),
        Decision::Take
    );
    assert_eq!(
        decide(Some(&lease("me", "1")), "me", &mut None, now),
        Decision::Take
    );
}

#[tokio::test]
async fn another_holder_is_waited_for_by_our_own_clock() {
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let mut seen = None;
    let mut step = |version: &str, seconds| {
        decide(
            Some(&lease("other", version)),
            "me",
            &mut seen,
            after(seconds),
        )
    };
    assert_eq!(step("1", 0), Decision::Wait);
    assert_eq!(step("1", 14), Decision::Wait);
    assert_eq!(step("2", 15), Decision::Wait);
    assert_eq!(step("2", 29), Decision::Wait);
    assert_eq!(step("2", 30), Decision::Take);
}

#[tokio::test]
async fn transitions_count_changes_of_the_holder() {
    let spec = |holder| taken(lease(holder, "1"), "l", "me").spec.unwrap();
    assert_eq!(spec("other").lease_transitions, Some(5));
    assert_eq!(spec("me").lease_transitions, Some(4));
    assert_eq!(spec("other").holder_identity.as_deref(), Some("me"));
    let metadata = taken(lease("other", "7"), "l", "me").metadata;
    assert_eq!(metadata.resource_version.as_deref(), Some("7"));
}

const _: () = assert!(DEADLINE.as_secs() < DURATION.as_secs());
const _: () = assert!(RENEW.as_secs() < DEADLINE.as_secs());
