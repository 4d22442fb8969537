//! `--as` through the proxy and by kube-apiserver itself, user by user.

use oidcproxy_tests::{
    client::{Client, Protocol, Reply},
    control_plane::ControlPlane,
};
use serde_json::{Value, json};

use super::{Bed, cluster_role, review, user};

/// Users with rights of each kind, against what they may act as: through the proxy as by kube-apiserver itself.
#[tokio::test]
#[allow(clippy::too_many_lines, reason = "a table")]
async fn acting_as_others_is_as_kube_apiserver_has_it() {
    const AUTHENTICATION: &str = "authentication.k8s.io";
    let bed = Bed::start().await;
    let plane = ControlPlane::shared().await;
    let admin = plane.admin().await.unwrap();
    let verb = |group: &str, resources: &[&str], verb: &str, names: &[&str]| {
        let mut rule = json!({"apiGroups": [group], "resources": resources, "verbs": [verb]});
        if !names.is_empty() {
            rule["resourceNames"] = json!(names);
        }
        rule
    };
    let on = |mode: &str, verbs: &[&str]| {
        let verbs: Vec<_> = verbs
            .iter()
            .map(|verb| format!("impersonate-on:{mode}:{verb}"))
            .collect();
        json!({"apiGroups": [AUTHENTICATION], "resources": ["selfsubjectreviews"], "verbs": verbs})
    };
    let create: &[&str] = &["create"];
    let constrained = |mode: &str, resources: &[&str], names: &[&str]| {
        let verb = verb(
            AUTHENTICATION,
            resources,
            &format!("impersonate:{mode}"),
            names,
        );
        vec![on(mode, create), verb]
    };
    let users = [
        ("nothing", vec![]),
        (
            "legacy-all",
            vec![
                verb(
                    "",
                    &["users", "groups", "serviceaccounts"],
                    "impersonate",
                    &[],
                ),
                verb(
                    AUTHENTICATION,
                    &["uids", "userextras/example.org/team"],
                    "impersonate",
                    &[],
                ),
            ],
        ),
        (
            "legacy-bob",
            vec![verb("", &["users"], "impersonate", &["bob"])],
        ),
        (
            "legacy-bob-dev",
            vec![
                verb("", &["users"], "impersonate", &["bob"]),
                verb("", &["groups"], "impersonate", &["dev"]),
            ],
        ),
        (
            "legacy-account",
            vec![verb("", &["serviceaccounts"], "impersonate", &["deployer"])],
        ),
        (
            "legacy-accounts",
            vec![verb("", &["serviceaccounts"], "impersonate", &[])],
        ),
        ("info-bob", constrained("user-info", &["users"], &["bob"])),
        (
            "info-all",
            constrained(
                "user-info",
                &["users", "groups", "uids", "userextras/example.org/team"],
                &[],
            ),
        ),
        (
            "info-dev",
            [
                constrained("user-info", &["users"], &["bob"]),
                vec![verb(
                    AUTHENTICATION,
                    &["groups"],
                    "impersonate:user-info",
                    &["dev", "ops"],
                )],
            ]
            .concat(),
        ),
        (
            "info-other-verb",
            vec![
                on("user-info", &["get"]),
                verb(AUTHENTICATION, &["users"], "impersonate:user-info", &[]),
            ],
        ),
        (
            "info-no-verb",
            vec![verb(
                AUTHENTICATION,
                &["users"],
                "impersonate:user-info",
                &[],
            )],
        ),
        (
            "account",
            constrained("serviceaccount", &["serviceaccounts"], &["deployer"]),
        ),
        ("node", constrained("arbitrary-node", &["nodes"], &["n1"])),
    ];
    for (name, rules) in &users {
        let name = format!("as-{name}");
        cluster_role(&admin, &name, &json!(rules), &user(&name))
            .await
            .unwrap();
    }
    let (u, g) = ("impersonate-user", "impersonate-group");
    let account = "system:serviceaccount:default:deployer";
    // Still an account, not a user: the labels of its name have no bound of their own.
    let long_account = format!("system:serviceaccount:default:{}", "a".repeat(64));
    let wishes: [(&str, &[(&str, &str)]); 14] = [
        ("bob", &[(u, "bob")]),
        ("carol", &[(u, "carol")]),
        ("bob +dev", &[(u, "bob"), (g, "dev")]),
        ("bob +dev +ops", &[(u, "bob"), (g, "dev"), (g, "ops")]),
        (
            "bob +4 groups",
            &[(u, "bob"), (g, "dev"), (g, "ops"), (g, "x"), (g, "y")],
        ),
        ("bob +masters", &[(u, "bob"), (g, "system:masters")]),
        ("bob uid 7", &[(u, "bob"), ("impersonate-uid", "7")]),
        (
            "bob team=a",
            &[(u, "bob"), ("impersonate-extra-example.org%2fteam", "a")],
        ),
        ("account", &[(u, account)]),
        ("account +dev", &[(u, account), (g, "dev")]),
        (
            "other account",
            &[(u, "system:serviceaccount:default:other")],
        ),
        ("long account", &[(u, long_account.as_str())]),
        ("node n1", &[(u, "system:node:n1")]),
        ("anonymous", &[(u, "system:anonymous")]),
    ];
    println!("{:<24}{:<16}{:<8}{:<8}", "user", "--as", "direct", "proxy");
    let mut different = Vec::new();
    for (name, _) in &users {
        let name = format!("as-{name}");
        let direct = plane.user(&name);
        let port = plane.url().rsplit(':').next().unwrap().parse().unwrap();
        let direct = Client::with_certificate(port, plane.ca_pem().to_owned(), direct);
        let token = bed.issuer.token(&name, &[]);
        for (wish, headers) in wishes {
            let own = review(headers);
            let own = direct.send(Protocol::H1, own).await.unwrap();
            let identity = |reply: &Reply| {
                let mut info = reply.json()["status"]["userInfo"].clone();
                if let Some(extra) = info.get_mut("extra").and_then(Value::as_object_mut) {
                    extra.retain(|key, _| !key.starts_with("originaluser.jetstack.io-"));
                    if extra.is_empty() {
                        info.as_object_mut().unwrap().remove("extra");
                    }
                }
                info
            };
            for protocol in Protocol::BOTH {
                let call = review(headers).bearer(&token);
                let proxied = bed.send(protocol, call).await;
                println!(
                    "{:<24}{wish:<16}{:<8}{:<8}",
                    name, own.status, proxied.status
                );
                let same = own.status == proxied.status
                    && (own.status != 201 || identity(&own) == identity(&proxied));
                if !same {
                    different.push(format!("{name} {wish} {protocol:?}: {own:?} {proxied:?}"));
                }
            }
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
