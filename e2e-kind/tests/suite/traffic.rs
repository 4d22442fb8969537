//! Certificates change and pods are replaced while requests and a watch go on.

use std::{path::Path, process::Command, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use oidcproxy_e2e::{
    kept::{Kept, Protocol},
    oidc_proxy,
    suite::{Kubectl, Suite},
    traffic::Traffic,
    wait::until,
};
use oidcproxy_tests::tls::aged_root;
use serde_json::{Value, json};

/// The kubelet may take a minute and a half for a new Secret, and machines are slow.
const ROTATION: Duration = Duration::from_mins(5);
const YEAR: Duration = Duration::from_hours(24 * 365);

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
    // The shortest that there is: a root is never replaced in the first tenth of its life, which is minutes here.
    let authority = |duration: &str, overlap: &str| {
        json!({"certificate": {"source": "SelfIssued", "selfIssued": {
            "duration": "1h", "renewBefore": "5m", "authority": {"duration": duration, "overlap": overlap},
        }}})
    };
    let (namespace, mut document) = oidc_proxy::own_with(suite, "corp", |spec| {
        spec["serving"] = authority("1h", "1m");
    });
    // A laptop that got its kubeconfig now and never again.
    let first = oidc_proxy::kubeconfig(&suite.admin, &document, suite.directory());
    let old = first.with_extension("old");
    std::fs::copy(&first, &old).unwrap();
    let laptop = suite.traffic_of("alice", &old, Kubectl::WebSocket);
    let mut traffic = Traffic::start(laptop, suite.namespace());
    for protocol in [Protocol::Http2, Protocol::Http1] {
        traffic.keep(Kept::start(
            suite,
            "alice",
            &old,
            protocol,
            suite.namespace(),
        ));
    }
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

#[test]
fn a_root_is_followed_by_another_twice_and_nothing_fails() {
    let suite = Suite::shared();
    let (_namespace, document) = oidc_proxy::own(suite, "corp");
    for round in ["second", "third"] {
        a_root_grows_old(suite, &document, round);
    }
}

/// Nine years later: the root before is over, and this one is followed by the next. Whoever knows this one goes on.
fn a_root_grows_old(suite: &'static Suite, document: &Value, next: &str) {
    let namespace = document["metadata"]["namespace"].as_str().unwrap();
    let published = oidc_proxy::kubeconfig(&suite.admin, document, suite.directory());
    let known = published.with_extension(format!("before-{next}"));
    std::fs::copy(&published, &known).unwrap();
    let client = suite.traffic_of("alice", &known, Kubectl::WebSocket);
    let mut traffic = Traffic::start(client, suite.namespace());
    let kept = Kept::start(suite, "alice", &known, Protocol::Http2, suite.namespace());
    traffic.keep(kept);
    traffic.some_more("before the next root", 3);
    let before = oidc_proxy::get(&suite.admin, document);
    let serial = before["status"]["certificate"]["serial"].as_str().unwrap();

    let aged = age_root(suite, namespace);
    until(&format!("a {next} root"), ROTATION, || {
        let resource = oidc_proxy::get(&suite.admin, document);
        let bundle = resource["status"]["caBundle"].as_str()?;
        let renewed = bundle.contains(aged.trim()) && !bundle.starts_with(aged.trim());
        renewed.then_some(())
    });
    until_served(suite, document, serial, "a certificate of the next root");
    let new = oidc_proxy::kubeconfig(&suite.admin, document, suite.directory());
    assert_ne!(std::fs::read(&new).unwrap(), std::fs::read(&known).unwrap());
    traffic.add(suite.traffic_of("alice", &new, Kubectl::Spdy));
    traffic.some_more("by clients with the old and the new bundle", 6);
    assert_eq!(traffic.watches(), 1, "a watch does not end with a root");
    traffic.finish(&format!("a {next} root"));
}

/// Makes the root one that began nine years ago, and the one before it one that has ended. Its key and its name stay: who
/// trusts it trusts it still.
fn age_root(suite: &Suite, namespace: &str) -> String {
    let get = ["-n", namespace, "get", "secret", "corp-ca"];
    let secret = suite.admin.json(&get);
    let text = |key: &str| {
        let bytes = STANDARD.decode(secret["data"][key].as_str().unwrap());
        String::from_utf8(bytes.unwrap()).unwrap()
    };
    let file = suite.directory().join(format!("{namespace}-root.crt"));
    std::fs::write(&file, text("ca.crt")).unwrap();
    let name = common_name(&file);
    let aged = aged_root(&name, &text("ca.key"), 9 * YEAR, YEAR / 2).unwrap();
    let later = json!({"data": {
        "ca.crt": STANDARD.encode(&aged), "previous.crt": null, "cross.crt": null,
    }});
    let later = later.to_string();
    let patch = [
        "-n",
        namespace,
        "patch",
        "secret",
        "corp-ca",
        "--type=merge",
        "-p",
        &later,
    ];
    suite.admin.ok(&patch);
    aged
}

/// Of a certificate in a file.
fn common_name(path: &Path) -> String {
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-subject", "-nameopt", "multiline", "-in"])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let name = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("commonName"));
    let name = name.unwrap_or_else(|| panic!("no name in {text}"));
    name.trim_start_matches([' ', '=']).to_owned()
}
