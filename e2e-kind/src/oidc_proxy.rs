//! `OidcProxy` resources, and the way in that they publish.

use std::{path::PathBuf, time::Duration};

use serde_json::{Value, json};

use crate::{
    client::Client, environment::Environment, namespace::Namespace, suite::Suite, wait::until,
};

/// A good condition within this time, or the test fails. The kubelet takes up to a minute and a
/// half until a changed Secret is in a pod, and a test may change it twice.
pub const READY: Duration = Duration::from_mins(4);

/// A resource that trusts Keycloak, whose CA is in the ConfigMap `issuer-ca`.
pub fn document(environment: &Environment, namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "oidcproxy.dev/v1alpha1",
        "kind": "OidcProxy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "authentication": {"jwt": [{
                "name": "corp",
                "issuer": {
                    "url": environment.get("ISSUER_URL"),
                    "audiences": [environment.get("ISSUER_CLIENT_ID")],
                    "certificateAuthorityFrom": {"configMapKeyRef": {"name": "issuer-ca", "key": "ca.crt"}},
                },
                "claimMappings": {
                    "username": {"claim": "preferred_username", "prefix": "corp:"},
                    "groups": {"claim": "groups", "prefix": "corp:"},
                },
            }]},
            // Short, so that a test which deletes pods does not wait for it.
            "drain": {"delay": "3s", "deadline": "5s"},
        },
    })
}

/// One that is Ready, in a namespace of its own.
pub fn own(suite: &Suite, name: &str) -> (Namespace, Value) {
    own_with(suite, name, |_| ())
}

/// The same with a changed spec.
pub fn own_with(suite: &Suite, name: &str, change: impl FnOnce(&mut Value)) -> (Namespace, Value) {
    let namespace = Namespace::new(&suite.admin);
    let mut document = document(&suite.environment, &namespace.name, name);
    change(&mut document["spec"]);
    apply_issuer_ca(suite, &namespace.name);
    apply_until_ready(&suite.admin, &document);
    (namespace, document)
}

/// Applies [`issuer_ca`] in this namespace.
pub fn apply_issuer_ca(suite: &Suite, namespace: &str) {
    let output = suite.admin.apply(&issuer_ca(&suite.environment, namespace));
    assert_eq!(output.code, Some(0), "{output}");
}

/// The ConfigMap with Keycloak's CA.
pub fn issuer_ca(environment: &Environment, namespace: &str) -> Value {
    let pem = std::fs::read_to_string(environment.get("ISSUER_CA")).expect("the issuer has a CA");
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "issuer-ca", "namespace": namespace},
        "data": {"ca.crt": pem},
    })
}

/// A condition's status and reason.
pub fn condition(resource: &Value, type_: &str) -> Option<(String, String)> {
    let conditions = resource["status"]["conditions"].as_array()?;
    let found = conditions
        .iter()
        .find(|condition| condition["type"] == type_)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason")))
}

/// Applies a resource and waits until it is Ready.
pub fn apply_until_ready(admin: &Client, document: &Value) {
    let output = admin.apply(document);
    assert_eq!(output.code, Some(0), "{output}");
    wait_ready(admin, document);
}

/// Waits as a user does.
pub fn wait_ready(admin: &Client, document: &Value) {
    let (namespace, name) = names(document);
    let limit = format!("--timeout={}s", READY.as_secs());
    let resource = format!("oidcproxy/{name}");
    let output = admin.run(&[
        "-n",
        namespace,
        "wait",
        &resource,
        "--for=condition=Ready",
        &limit,
    ]);
    assert_eq!(output.code, Some(0), "{output}");
}

/// The resource as it is now.
pub fn get(admin: &Client, document: &Value) -> Value {
    let (namespace, name) = names(document);
    admin.json(&["-n", namespace, "get", "oidcproxy", name])
}

/// Until a condition has this status and reason.
pub fn until_condition(
    admin: &Client,
    document: &Value,
    type_: &str,
    expected: (&str, &str),
) -> Value {
    until(&format!("{type_}={expected:?}"), READY, || {
        let resource = get(admin, document);
        let (status, reason) = condition(&resource, type_)?;
        ((status.as_str(), reason.as_str()) == expected).then_some(resource)
    })
}

/// The published kubeconfig in a file. The host has routes to Services, so the Service's address,
/// which the certificate names, takes the place of the DNS name that only pods can resolve.
pub fn kubeconfig(admin: &Client, document: &Value, directory: &std::path::Path) -> PathBuf {
    let (namespace, name) = names(document);
    let map = admin.json(&[
        "-n",
        namespace,
        "get",
        "configmap",
        &format!("{name}-kubeconfig"),
    ]);
    let service = admin.json(&["-n", namespace, "get", "service", name]);
    let text = map["data"]["kubeconfig"]
        .as_str()
        .expect("the ConfigMap has a kubeconfig");
    let address = service["spec"]["clusterIP"]
        .as_str()
        .expect("the Service has an address");
    let text = text.replace(&format!("{name}.{namespace}.svc"), address);
    let path = directory.join(format!("{namespace}-{name}.kubeconfig"));
    std::fs::write(&path, text).expect("the directory is writable");
    path
}

fn names(document: &Value) -> (&str, &str) {
    let metadata = &document["metadata"];
    (
        metadata["namespace"].as_str().expect("it has a namespace"),
        metadata["name"].as_str().expect("it has a name"),
    )
}
