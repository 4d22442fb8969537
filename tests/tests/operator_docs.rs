//! The examples of the documents, against a real kube-apiserver with the chart's definition and policies: each is
//! admitted as it stands, without unknown fields.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{fs, process::Command};

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Discovery,
    api::{DynamicObject, Patch, PatchParams, ValidationDirective},
    core::GroupVersionKind,
    discovery::Scope,
};
use oidcproxy_tests::{
    chart::{Chart, assets, repository},
    control_plane::ControlPlane,
};
use serde_json::{Value, json};

const KINDS: [&str; 3] = [
    "CustomResourceDefinition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];
/// Where the examples live.
const NAMESPACES: [&str; 3] = ["auth", "oidc-proxy", "demo"];

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

fn parsed(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    let documents = documents.into_iter().filter(|document| !document.is_null());
    documents.collect()
}

/// Without the blanks that all lines begin with.
fn dedented(text: &str) -> String {
    let depth = |line: &&str| line.len() - line.trim_start().len();
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let depth = lines.map(|line| depth(&line)).min().unwrap_or(0);
    let lines = text.lines().map(|line| line.get(depth..).unwrap_or(""));
    lines.collect::<Vec<_>>().join("\n")
}

/// What a document has readers apply: blocks of YAML, and what a shell block gives to kubectl.
fn examples(path: &str) -> Vec<Value> {
    let text = read(path);
    let between = |start: &str, end: &str| -> Vec<String> {
        let after = text.split(start).skip(1);
        let blocks = after.map(|rest| rest.split(end).next().unwrap());
        blocks.map(dedented).collect()
    };
    let mut all = between("```yaml\n", "```");
    all.extend(between("<<EOF\n", "EOF\n"));
    let filled = all.into_iter().map(|block| {
        block
            .replace("$ISSUER_URL", "https://id.example.com")
            .replace("$NODE_IP", "192.0.2.1")
            .replace("{{ $namespace }}", "auth")
    });
    filled.flat_map(|block| parsed(&block)).collect()
}

fn demo(file: &str) -> Vec<Value> {
    let text = read(&format!("e2e-kind/demo/{file}"));
    let text = text
        .replace("ISSUER_URL", "https://id.example.com")
        .replace("NODE_IP", "192.0.2.1")
        .replace("NODE_PORT", "31443")
        .replace("TOOLS_IMAGE", "localhost/tools:dev");
    parsed(&text)
}

/// A part of a spec, in an object that lacks nothing else.
fn completed(part: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "oidcproxy.dev/v1alpha1", "kind": "OidcProxy",
        "metadata": {"name": "corp", "namespace": "auth"},
        "spec": {"authentication": {"jwt": [{
            "name": "corp",
            "issuer": {"url": "https://id.example.com", "audiences": ["kubernetes"]},
            "claimMappings": {"username": {"claim": "sub", "prefix": "corp:"}},
        }]}},
    });
    for (name, value) in part["spec"].as_object().unwrap() {
        object["spec"][name] = value.clone();
    }
    object
}

/// Applies it without storing it; what the schema does not know is an error.
async fn admit(admin: &Client, discovery: &Discovery, object: &Value) {
    let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let types = object.types.clone().unwrap();
    let gvk = GroupVersionKind::try_from(&types).unwrap();
    let (resource, capabilities) = discovery.resolve_gvk(&gvk).unwrap();
    let name = object.metadata.name.clone().unwrap();
    let api: Api<DynamicObject> = if capabilities.scope == Scope::Namespaced {
        let namespace = object.metadata.namespace.as_deref().unwrap();
        Api::namespaced_with(admin.clone(), namespace, &resource)
    } else {
        Api::all_with(admin.clone(), &resource)
    };
    let params = PatchParams {
        dry_run: true,
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply("reader").force()
    };
    let applied = api.patch(&name, &params, &Patch::Apply(&object)).await;
    applied.unwrap_or_else(|error| panic!("{} {name}: {error}", types.kind));
}

async fn prepared() -> (Client, Discovery) {
    let plane = ControlPlane::shared().await;
    let admin = plane.admin().await.unwrap();
    for name in NAMESPACES {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let all: Api<Namespace> = Api::all(admin.clone());
        plane.create(all, object).await.unwrap();
    }
    let namespaces = ["namespaces={auth,oidc-proxy}"];
    let chart = Chart::render("oidc-proxy-operator", "auth", &namespaces).unwrap();
    chart.apply(&admin, &KINDS).await.unwrap();
    let discovery = Discovery::new(admin.clone()).run().await.unwrap();
    (admin, discovery)
}

#[tokio::test]
async fn every_example_is_admitted() {
    let (admin, discovery) = prepared().await;
    let own = |object: &Value| object["kind"] == "OidcProxy";
    for (path, proxies, parts) in [
        ("README.md", 2, 0),
        ("docs/install.md", 1, 0),
        ("docs/audit.md", 0, 1),
        ("charts/oidc-proxy-operator/templates/NOTES.txt", 1, 0),
    ] {
        let all = examples(path);
        let whole: Vec<_> = all.iter().filter(|object| own(object)).collect();
        let part = |object: &&Value| object["kind"].is_null() && object["spec"].is_object();
        let some: Vec<_> = all.iter().filter(part).collect();
        // A block that is not found is not tried.
        assert_eq!((whole.len(), some.len()), (proxies, parts), "{path}");
        for object in whole {
            admit(&admin, &discovery, object).await;
        }
        for part in some {
            admit(&admin, &discovery, &completed(part)).await;
        }
    }
    let mut demo: Vec<_> = [demo("oidcproxy.yaml"), demo("workload.yaml")].concat();
    assert!(demo.iter().filter(|object| own(object)).count() == 1 && demo.len() > 4);
    // Beside what the demo applies: the settings of Argo CD, which others own.
    let mut settings = parsed(&read("docs/gitops/argocd/argocd-cm.yaml"));
    settings[0]["metadata"]["namespace"] = json!("auth");
    demo.extend(settings);
    for object in demo {
        admit(&admin, &discovery, &object).await;
    }
}

/// No document has an example that the test above passes over.
#[test]
fn every_document_with_examples_is_known() {
    let mut found = Vec::new();
    for folder in ["", "docs", "charts/oidc-proxy-operator"] {
        for entry in fs::read_dir(repository().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let is_document = path.extension().is_some_and(|extension| extension == "md");
            let text = is_document.then(|| fs::read_to_string(&path).unwrap());
            if text.is_some_and(|text| text.contains("```yaml") || text.contains("<<EOF")) {
                found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort_unstable();
    // The reference's one is a rule for another program.
    assert_eq!(
        found,
        ["README.md", "audit.md", "install.md", "reference.md"]
    );
}

/// The values that `GitOps` tools are given are those of the chart: its schema refuses others.
#[test]
fn values_in_the_gitops_examples_are_the_charts() {
    let flux = parsed(&read("docs/gitops/flux.yaml"));
    let release = flux.iter().find(|object| object["kind"] == "HelmRelease");
    let applications = parsed(&read("docs/gitops/argocd/applications.yaml"));
    let source = &applications[0]["spec"]["source"];
    let values = [
        &release.unwrap()["spec"]["values"],
        &source["helm"]["valuesObject"],
    ];
    let folder = tempfile::tempdir().unwrap();
    for (number, values) in values.into_iter().enumerate() {
        assert!(values["image"]["repository"].is_string(), "{values}");
        let file = folder.path().join(number.to_string());
        fs::write(&file, values.to_string()).unwrap();
        let output = Command::new(assets().unwrap().join("helm"))
            .args(["template", "x", "--namespace", "auth", "--values"])
            .arg(&file)
            .arg(repository().join("charts/oidc-proxy-operator"))
            .env("KUBECONFIG", "/dev/null")
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{values}: {error}");
    }
}
