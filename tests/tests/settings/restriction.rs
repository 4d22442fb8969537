//! `restrictTo`: who is not listed is refused, never cut down to what is.

use oidcproxy_crds::v1alpha1::impersonation::{Names, RestrictTo};
use oidcproxy_tests::client::{Protocol, Reply};

use super::Bed;

fn names(names: &[&str]) -> Names {
    Names {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn message(reply: &Reply) -> String {
    reply.assert_refusal(403);
    reply.json()["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn only_listed_identities_are_forwarded() {
    let bed = Bed::with(|settings| {
        settings.impersonation.restrict_to = RestrictTo {
            users: Some(names(&["alice", "bob"])),
            groups: Some(names(&["dev"])),
        };
    })
    .await;
    for protocol in Protocol::BOTH {
        bed.get(protocol, "alice", &["dev"])
            .await
            .assert_status(200);
        bed.get(protocol, "alice", &[]).await.assert_status(200);
        let user = message(&bed.get(protocol, "mallory", &["dev"]).await);
        assert!(
            user.contains("spec.impersonation.restrictTo.users"),
            "{user}"
        );
        let group = message(&bed.get(protocol, "alice", &["dev", "ops"]).await);
        assert!(group.contains("\"ops\""), "{group}");
        assert!(
            group.contains("spec.impersonation.restrictTo.groups"),
            "{group}"
        );
    }
    assert!(
        bed.api
            .forwarded()
            .iter()
            .all(|request| request.user().as_deref() == Some("alice"))
    );
}

#[tokio::test]
async fn acting_as_somebody_else_is_no_way_around() {
    let bed = Bed::with(|settings| {
        settings.impersonation.restrict_to.users = Some(names(&["alice", "bob"]));
    })
    .await;
    bed.api.reviews().allow_verb("alice", "impersonate");
    bed.api.reviews().allow_verb("mallory", "impersonate");
    let as_user = |user: &'static str| [("impersonate-user", user)];
    bed.send(Protocol::H1, "alice", &[], &as_user("bob"))
        .await
        .assert_status(200);
    message(
        &bed.send(Protocol::H1, "alice", &[], &as_user("carol"))
            .await,
    );
    // Nor does who is not listed act as who is.
    let seen = bed.api.forwarded().len();
    bed.send(Protocol::H2, "mallory", &[], &as_user("bob"))
        .await
        .assert_refusal(403);
    assert_eq!(bed.api.forwarded().len(), seen);
}
