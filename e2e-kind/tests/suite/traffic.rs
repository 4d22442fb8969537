//! Certificates change and pods are replaced while requests and a watch go on.

use std::time::Duration;

use oidcproxy_e2e::{
    namespace::Namespace,
    oidc_proxy,
    suite::{Kubectl, Suite},
    traffic::Traffic,
    wait::until,
};
use serde_json::{Value, json};

/// The kubelet may take a minute and a half for a new Secret, and machines are slow.
const ROTATION: Duration = Duration::from_mins(5);

/// Until every pod serves with another certificate than the one of this serial.
fn until_served(suite: &Suite, document: &Value, old: &str, what: &str) -> String {
    until(what, ROTATION, || {
        let resource = oidc_proxy::get(&suite.admin, document);
        let serial = resource["status"]["certificate"]["serial"].as_str()?;
        let (ready, _) = oidc_proxy::condition(&resource, "Ready")?;
        (serial != old && ready == "True").then(|| serial.to_owned())
    })
}

#[test]
fn certificates_and_pods_change_under_load_and_nothing_fails() {
    let suite = Suite::shared();
    let namespace = Namespace::new(&suite.admin);
    let mut document = oidc_proxy::document(&suite.environment, &namespace.name, "corp");
    // The shortest that there is: a root is never replaced in the first tenth of its life, which is minutes here.
    let authority = |duration: &str, overlap: &str| {
        json!({"certificate": {"source": "SelfIssued", "selfIssued": {
            "duration": "1h", "renewBefore": "5m", "authority": {"duration": duration, "overlap": overlap},
        }}})
    };
    document["spec"]["serving"] = authority("1h", "1m");
    suite
        .admin
        .apply(&oidc_proxy::issuer_ca(&suite.environment, &namespace.name));
    oidc_proxy::apply_until_ready(&suite.admin, &document);
    // A laptop that got its kubeconfig now and never again.
    let first = oidc_proxy::kubeconfig(&suite.admin, &document, suite.directory());
    let old = first.with_extension("old");
    std::fs::copy(&first, &old).unwrap();
    let laptop = suite.traffic_of("alice", &old, Kubectl::WebSocket);
    let mut traffic = Traffic::start(laptop, suite.namespace());
    traffic.some_more("before", 3);

    let leaf = until_served(suite, &document, "", "a certificate");
    suite
        .admin
        .ok(&["-n", &namespace.name, "delete", "secret", "corp-serving"]);
    let leaf = until_served(suite, &document, &leaf, "another certificate");
    traffic.some_more("with a new certificate", 3);

    // The root ends within this overlap: it is renewed now.
    document["spec"]["serving"] = authority("87600h", "2h");
    assert_eq!(suite.admin.apply(&document).code, Some(0));
    until("a new root", ROTATION, || {
        let resource = oidc_proxy::get(&suite.admin, &document);
        let text = resource["status"]["caBundle"].as_str()?;
        (text.matches("BEGIN CERTIFICATE").count() == 2).then_some(())
    });
    let leaf = until_served(suite, &document, &leaf, "a certificate of the new root");
    let new = oidc_proxy::kubeconfig(&suite.admin, &document, suite.directory());
    assert_ne!(std::fs::read(&new).unwrap(), std::fs::read(&old).unwrap());
    traffic.add(suite.traffic_of("alice", &new, Kubectl::Spdy));
    traffic.some_more(
        "with a new root, by clients with the old and the new bundle",
        6,
    );
    suite
        .admin
        .ok(&["-n", &namespace.name, "delete", "secret", "corp-serving"]);
    until_served(suite, &document, &leaf, "one more certificate");
    traffic.some_more("with the last certificate", 6);
    assert_eq!(
        traffic.watches(),
        1,
        "a watch does not end with a certificate"
    );

    let restart = [
        "-n",
        &namespace.name,
        "rollout",
        "restart",
        "deployment/corp",
    ];
    suite.admin.ok(&restart);
    suite.admin.ok(&[
        "-n",
        &namespace.name,
        "rollout",
        "status",
        "deployment/corp",
        "--timeout=240s",
    ]);
    traffic.some_more("after a restart of all pods", 6);
    until("the end of the old pods", ROTATION, || {
        let pods = suite
            .admin
            .ok(&["-n", &namespace.name, "get", "pods", "-o", "name"]);
        (pods.lines().count() == 2).then_some(())
    });
    traffic.some_more("without the old pods", 6);
    traffic.finish("three certificates, a new root and a rolling restart");
}
