//! A certificate of somebody else's, renewed as cert-manager does it: the Secret's content changes, its name does not.

use std::{collections::BTreeMap, time::Duration};

use oidcproxy_e2e::{
    kept::{Kept, Protocol},
    namespace::Namespace,
    oidc_proxy,
    suite::{Kubectl, Suite},
    traffic::Traffic,
    wait::until,
};
use oidcproxy_tests::tls::TestCa;
use serde_json::{Value, json};

/// The kubelet may take a minute and a half for a new Secret, and machines are slow.
const RENEWED: Duration = Duration::from_mins(5);

fn secret(ca: &TestCa, namespace: &str, names: &[&str]) -> Value {
    let leaf = ca.server(names).unwrap();
    let data = BTreeMap::from([
        ("tls.crt", leaf.cert_pem),
        ("tls.key", leaf.key_pem),
        ("ca.crt", ca.pem()),
    ]);
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {
            "name": "corp-tls", "namespace": namespace,
            "annotations": {"cert-manager.io/certificate-name": "corp"},
        },
        "stringData": data,
    })
}

#[test]
fn a_provided_certificate_is_renewed_while_requests_go_on() {
    let suite = Suite::shared();
    let namespace = Namespace::new(&suite.admin);
    let mut document = oidc_proxy::document(&suite.environment, &namespace.name, "corp");
    let ca = TestCa::new("company").unwrap();
    let root = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "company", "namespace": namespace.name}, "data": {"ca.crt": ca.pem()},
    });
    assert_eq!(suite.admin.apply(&root).code, Some(0));
    let root = json!({"configMapKeyRef": {"name": "company", "key": "ca.crt"}});
    document["spec"]["serving"] = json!({"certificate": {
        "source": "Secret", "secret": {"name": "corp-tls", "caBundleFrom": root},
    }});
    oidc_proxy::apply_issuer_ca(suite, &namespace.name);
    assert_eq!(suite.admin.apply(&document).code, Some(0));
    // Clients here go to the Service's address, which has to be in the certificate.
    let address = until("the Service", RENEWED, || {
        let get = [
            "-n",
            &namespace.name,
            "get",
            "service",
            "corp",
            "-o",
            "jsonpath={.spec.clusterIP}",
        ];
        let output = suite.admin.run(&get);
        (output.code == Some(0) && !output.stdout.is_empty()).then_some(output.stdout)
    });
    let service = format!("corp.{}.svc", namespace.name);
    let names = [service.as_str(), &address];
    let first = suite.admin.apply(&secret(&ca, &namespace.name, &names));
    assert_eq!(first.code, Some(0), "{first}");
    oidc_proxy::wait_ready(&suite.admin, &document);
    let serial = || {
        let resource = oidc_proxy::get(&suite.admin, &document);
        let (ready, _) = oidc_proxy::condition(&resource, "Ready")?;
        (ready == "True").then(|| resource["status"]["certificate"]["serial"].clone())
    };
    let before = serial().expect("it is Ready");
    let kubeconfig = oidc_proxy::kubeconfig(&suite.admin, &document, suite.directory());
    let client = suite.traffic_of("alice", &kubeconfig, Kubectl::WebSocket);
    let mut traffic = Traffic::start(client, suite.namespace());
    let kept = Kept::start(
        suite,
        "alice",
        &kubeconfig,
        Protocol::Http2,
        suite.namespace(),
    );
    traffic.keep(kept);
    traffic.some_more("with the first certificate", 3);
    let second = suite.admin.apply(&secret(&ca, &namespace.name, &names));
    assert_eq!(second.code, Some(0), "{second}");
    until("the next certificate on every pod", RENEWED, || {
        traffic.assert_no_failure("while it is renewed");
        serial().filter(|now| *now != before)
    });
    traffic.some_more("with the next certificate", 3);
    assert_eq!(
        traffic.watches(),
        1,
        "a watch does not end with a certificate"
    );
    traffic.finish("a provided certificate that was renewed");
}
