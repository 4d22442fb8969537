//! What docs/reference.md and docs/troubleshooting.md list is what there is: fields of an OidcProxy, and conditions.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;

use oidcproxy_crds::{schema::custom_resource_definition, v1alpha1::conditions};
use serde_json::Value;

const REFERENCE: &str = include_str!("../../docs/reference.md");
const TROUBLESHOOTING: &str = include_str!("../../docs/troubleshooting.md");
/// Kubernetes' own types, which the reference does not explain.
const KUBERNETES: [&str; 9] = [
    "affinity",
    "from",
    "imagePullSecrets",
    "metricsFrom",
    "nodeSelector",
    "resources",
    "rules",
    "tolerations",
    "topologySpreadConstraints",
];

/// The names of fields below this one, at any depth.
fn fields(schema: &Value, found: &mut BTreeSet<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        found.insert(name.clone());
        if !KUBERNETES.contains(&name.as_str()) {
            fields(field, found);
        }
    }
    if schema["items"].is_object() {
        fields(&schema["items"], found);
    }
}

/// The text under the heading that names this part of the object.
fn section(name: &str) -> &'static str {
    let all = REFERENCE.split("\n## ");
    let mut all = all.filter(|section| {
        let heading = section.lines().next().unwrap();
        heading.split(", ").any(|part| part == name)
    });
    let section = all.next();
    section.unwrap_or_else(|| panic!("docs/reference.md has no section {name}"))
}

/// The names in a text's code, of which paths have several.
fn names(text: &str) -> BTreeSet<&str> {
    let code = text.split('`').skip(1).step_by(2);
    code.flat_map(|code| code.split(['.', '[', ']'])).collect()
}

/// What the first column of a section's table names.
fn rows(section: &'static str) -> BTreeSet<&'static str> {
    let lines = section.lines().filter(|line| line.starts_with("| `"));
    let cells = lines.map(|line| line.split('|').nth(1).unwrap());
    let names = cells.flat_map(names);
    names.filter(|name| !name.is_empty()).collect()
}

#[test]
fn every_field_is_listed_and_nothing_else() {
    let definition = serde_json::to_value(custom_resource_definition()).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let parts = schema["spec"]["properties"].as_object().unwrap();
    assert!(parts.len() > 10, "{parts:?}");
    for (part, schema) in parts {
        let mut all = BTreeSet::new();
        fields(schema, &mut all);
        let listed = section(&format!("spec.{part}"));
        let missing: Vec<_> = all
            .iter()
            .filter(|name| !names(listed).contains(name.as_str()))
            .collect();
        assert!(missing.is_empty(), "spec.{part}: {missing:?}");
    }
    let mut all = BTreeSet::new();
    fields(&schema["spec"], &mut all);
    let listed = REFERENCE.split("\n## ");
    let listed = listed.filter(|section| section.starts_with("spec."));
    for name in listed.flat_map(rows) {
        assert!(all.contains(name), "there is no field {name}");
    }

    let mut all = BTreeSet::new();
    for (name, schema) in schema["status"]["properties"].as_object().unwrap() {
        all.insert(name.clone());
        // What these hold is the spec again, and Kubernetes' own.
        if !["settings", "conditions"].contains(&name.as_str()) {
            fields(schema, &mut all);
        }
    }
    let listed = names(section("status"));
    let missing: Vec<_> = all
        .iter()
        .filter(|name| !listed.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "status: {missing:?}");
    for name in rows(section("status")) {
        assert!(all.contains(name), "there is no field status.{name}");
    }
}

#[test]
fn every_condition_is_explained_and_nothing_else() {
    let (_, table) = TROUBLESHOOTING.split_once("\n## Conditions\n").unwrap();
    let table = table.split("\n### ").next().unwrap();
    let mut all = BTreeSet::from(conditions::STANDING);
    all.extend([
        conditions::POD_MONITOR_READY,
        conditions::RECONCILING,
        conditions::STALLED,
        conditions::MAPPING_WARNING,
    ]);
    assert_eq!(rows(table), all);
}

/// The script stands in three places, for three ways to read it.
#[test]
fn the_health_check_of_argo_cd_is_the_same_wherever_it_stands() {
    let script = include_str!("../../docs/gitops/argocd/health.lua");
    let document = include_str!("../../docs/gitops.md");
    assert!(document.contains(&format!("```lua\n{script}```\n")));
    let settings = include_str!("../../docs/gitops/argocd/argocd-cm.yaml");
    let settings: Value = serde_saphyr::from_str(settings).unwrap();
    let held = &settings["data"]["resource.customizations.health.oidcproxy.dev_OidcProxy"];
    assert_eq!(held, script);
}
