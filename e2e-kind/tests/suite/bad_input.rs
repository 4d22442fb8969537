//! What is wrong is refused at admission, or said in a condition while the last good settings go
//! on serving.

use oidcproxy_e2e::{
    namespace::Namespace,
    oidc_proxy,
    suite::{Kubectl, Suite},
    user,
};
use serde_json::{Value, json};

#[test]
fn invalid_resources_are_refused_at_admission() {
    let suite = Suite::shared();
    let namespace = Namespace::new(&suite.admin);
    let good = oidc_proxy::document(&suite.environment, &namespace.name, "corp");
    let jwt = "/spec/authentication/jwt/0";
    let at = |path: &str| format!("{jwt}{path}");
    let second = |name: &str, url: &str| {
        let mut entry = good["spec"]["authentication"]["jwt"][0].clone();
        entry["name"] = json!(name);
        entry["issuer"]["url"] = json!(url);
        json!([good["spec"]["authentication"]["jwt"][0], entry])
    };
    let own_url = suite.environment.get("ISSUER_URL");
    let cases: Vec<(String, Value, &str)> = vec![
        (
            at("/issuer/url"),
            json!("http://id.example"),
            "must be an https URL",
        ),
        (
            at("/issuer/url"),
            json!("https://id.example/?a=b"),
            "must be an https URL",
        ),
        (at("/issuer/audiences"), json!([]), "audiences"),
        (
            at("/issuer/audiences"),
            json!(["a", "b"]),
            "audienceMatchPolicy must be MatchAny",
        ),
        (
            at("/claimMappings/username"),
            json!({"claim": "sub", "prefix": "", "expression": "claims.sub"}),
            "exactly one of claim and expression",
        ),
        (
            at("/claimMappings/username"),
            json!({"claim": "sub"}),
            "prefix is needed with claim",
        ),
        (
            at("/claimMappings/username/prefix"),
            json!("system:"),
            "must not start with a reserved prefix",
        ),
        (
            at("/claimMappings/groups/prefix"),
            json!("kubeadm:x"),
            "must not start with a reserved prefix",
        ),
        (
            "/spec/authentication/jwt".into(),
            second("corp", "https://other.example"),
            "Duplicate value",
        ),
        (
            "/spec/authentication/jwt".into(),
            second("other", own_url),
            "issuer.url must be unique",
        ),
        (
            "/spec/authentication/allowedReservedGroups".into(),
            json!(["system:masters"]),
            "can never be allowed",
        ),
        (
            "/spec/serving".into(),
            json!({"certificate": {"source": "SelfIssued", "selfIssued": {"duration": "24h", "renewBefore": "24h"}}}),
            "renewBefore must be shorter",
        ),
        ("/spec/unheardOf".into(), json!(1), "unknown field"),
        ("/metadata/name".into(), json!("a".repeat(51)), "DNS-1035"),
        ("/metadata/name".into(), json!("a.b"), "DNS-1035"),
        ("/metadata/name".into(), json!("1a"), "DNS-1035"),
    ];
    for (path, value, message) in cases {
        let mut document = good.clone();
        set(&mut document, &path, value);
        let output = suite.admin.apply(&document);
        assert_ne!(output.code, Some(0), "{path} was accepted");
        assert!(output.stderr.contains(message), "{path}: {output}");
    }
}

#[test]
fn a_bad_spec_stalls_while_the_last_good_settings_serve() {
    let suite = Suite::shared();
    let (_namespace, good) = oidc_proxy::own(suite, "corp");
    let kubeconfig = oidc_proxy::kubeconfig(&suite.admin, &good, suite.directory());
    let serves = || {
        let alice = suite.through(&kubeconfig, Kubectl::WebSocket, &user::token("alice"));
        let output = alice.run(&["auth", "whoami"]);
        assert_eq!(output.code, Some(0), "{output}");
    };
    let revision = |resource: &Value| resource["status"]["settings"]["revision"].clone();
    let settings = revision(&oidc_proxy::get(&suite.admin, &good));

    let key = "/spec/authentication/jwt/0/issuer/certificateAuthorityFrom/configMapKeyRef/key";
    for (path, value, reason) in [
        (
            "/spec/authentication/jwt/0/issuer/egressSelectorType",
            json!("cluster"),
            "NotImplemented",
        ),
        (key, json!("missing.crt"), "ReferenceNotFound"),
    ] {
        let mut bad = good.clone();
        set(&mut bad, path, value);
        assert_eq!(suite.admin.apply(&bad).code, Some(0));
        let stalled = oidc_proxy::until_condition(&suite.admin, &bad, "Stalled", ("True", reason));
        assert_eq!(revision(&stalled), settings, "the last good settings stay");
        assert_eq!(
            stalled["status"]["observedGeneration"],
            stalled["metadata"]["generation"]
        );
        let serving = oidc_proxy::condition(&stalled, "Serving").unwrap();
        assert_eq!(serving.0, "True", "{stalled}");
        serves();
    }
    assert_eq!(suite.admin.apply(&good).code, Some(0));
    oidc_proxy::wait_ready(&suite.admin, &good);
    let recovered = oidc_proxy::get(&suite.admin, &good);
    assert_eq!(oidc_proxy::condition(&recovered, "Stalled"), None);
    serves();
}

#[test]
fn an_issuer_that_is_down_takes_nothing_from_the_others() {
    let suite = Suite::shared();
    let (namespace, document) = oidc_proxy::own_with(suite, "corp", |spec| {
        let issuers = spec["authentication"]["jwt"].as_array_mut().unwrap();
        let mut down = issuers[0].clone();
        down["name"] = json!("down");
        // Nobody listens there.
        down["issuer"]["url"] = json!(format!("https://{}:9", suite.environment.get("HOST_IP")));
        issuers.push(down);
    });
    let resource = oidc_proxy::until_condition(
        &suite.admin,
        &document,
        "IssuersReachable",
        ("False", "IssuerUnreachable"),
    );
    let issuers = resource["status"]["issuers"].as_array().unwrap();
    let state = |name: &str| {
        issuers
            .iter()
            .find(|issuer| issuer["name"] == name)
            .unwrap()["state"]
            .clone()
    };
    assert_eq!(
        (state("corp"), state("down")),
        (json!("Ready"), json!("Failed"))
    );
    let kubeconfig = oidc_proxy::kubeconfig(&suite.admin, &document, suite.directory());
    let alice = suite.through(&kubeconfig, Kubectl::WebSocket, &user::token("alice"));
    alice.ok(&["auth", "whoami"]);
    let pods = suite.admin.json(&["-n", &namespace.name, "get", "pods"]);
    for pod in pods["items"].as_array().unwrap() {
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    }
}

fn set(document: &mut Value, path: &str, value: Value) {
    let (parent, field) = path.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap()[field] = value;
}
