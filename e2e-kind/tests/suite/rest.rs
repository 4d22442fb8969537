//! At rest: little memory, no writes, and conditions that say so.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use oidcproxy_e2e::{
    oidc_proxy,
    suite::{Suite, report},
    wait::until,
};

const MIB: u64 = 1024;
/// The operator looks at everything again each 30 s, and at many objects less often (its `pace.rs`).
const TWO_RESYNCS: Duration = Duration::from_secs(70);

#[test]
fn ready_comes_within_thirty_seconds() {
    let suite = Suite::shared();
    assert!(
        suite.ready_after < Duration::from_secs(30),
        "{:?}",
        suite.ready_after
    );
}

#[test]
fn a_ready_resource_has_no_open_ends() {
    let suite = Suite::shared();
    oidc_proxy::wait_ready(&suite.admin, &suite.document);
    let resource = oidc_proxy::get(&suite.admin, &suite.document);
    let generation = &resource["metadata"]["generation"];
    assert_eq!(&resource["status"]["observedGeneration"], generation);
    for condition in resource["status"]["conditions"].as_array().unwrap() {
        assert_eq!(&condition["observedGeneration"], generation, "{condition}");
        assert_eq!(condition["status"], "True", "{condition}");
        assert!(
            condition["type"] != "Reconciling" && condition["type"] != "Stalled",
            "{condition}"
        );
    }
}

/// Resident memory in KiB of the processes of an image that belong to this suite.
fn resident(program: &str, argument: &str) -> Vec<u64> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let path = entry.path();
        let Ok(command) = std::fs::read(path.join("cmdline")) else {
            continue;
        };
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if !command.starts_with(program) || !command.contains(argument) {
            continue;
        }
        let Ok(status) = std::fs::read_to_string(path.join("status")) else {
            continue;
        };
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        found.extend(line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()));
    }
    found
}

/// What a resource consists of, and its version each.
fn versions(suite: &Suite, namespace: &str) -> BTreeMap<String, String> {
    let kinds = "oidcproxies,deployments,services,serviceaccounts,networkpolicies,poddisruptionbudgets,roles,rolebindings,configmaps,secrets";
    let inside = suite.admin.json(&["-n", namespace, "get", kinds]);
    let rights = suite
        .admin
        .json(&["get", "clusterroles,clusterrolebindings"]);
    let cluster_wide = format!("oidcproxy:{namespace}:corp");
    let items = [inside, rights].into_iter().flat_map(|list| {
        let items = list["items"].as_array().cloned();
        items.unwrap_or_default()
    });
    let ours = items.filter(|item| {
        let name = item["metadata"]["name"].as_str().unwrap_or_default();
        name.starts_with("corp") || name == cluster_wide
    });
    ours.map(|item| {
        let metadata = &item["metadata"];
        (
            format!("{} {}", item["kind"], metadata["name"]),
            metadata["resourceVersion"].to_string(),
        )
    })
    .collect()
}

#[test]
fn a_resource_at_rest_is_not_written_and_needs_little_memory() {
    let suite = Suite::shared();
    let (namespace, _) = oidc_proxy::own(suite, "corp");
    // Ready comes before the last pod has told all that it knows.
    let settled = until("the last write", Duration::from_mins(1), || {
        let before = versions(suite, &namespace.name);
        std::thread::sleep(Duration::from_secs(10));
        (versions(suite, &namespace.name) == before).then_some(before)
    });
    assert!(settled.len() >= 13, "{settled:#?}");
    let rest = Instant::now();
    while rest.elapsed() < TWO_RESYNCS {
        std::thread::sleep(Duration::from_secs(5));
        assert_eq!(
            versions(suite, &namespace.name),
            settled,
            "after {:.0?} at rest",
            rest.elapsed()
        );
    }
    if suite.environment.get("CLUSTER_PROVIDER") != "node" {
        // In kind the processes belong to another container.
        return;
    }
    let argument = format!("--oidc-proxy={}/corp", namespace.name);
    let proxies = resident("/usr/local/bin/oidc-proxy ", &argument);
    report(&format!("resident memory of idle proxies: {proxies:?} KiB"));
    assert_eq!(proxies.len(), 2);
    assert!(proxies.iter().all(|kib| *kib < 20 * MIB), "{proxies:?} KiB");
}

#[test]
fn the_operators_need_little_memory() {
    let suite = Suite::shared();
    if suite.environment.get("CLUSTER_PROVIDER") != "node" {
        return;
    }
    let operators = resident("/usr/local/bin/oidc-proxy-operator ", "--namespaces=*");
    report(&format!(
        "resident memory of the operators: {operators:?} KiB"
    ));
    assert_eq!(operators.len(), 2);
    assert!(
        operators.iter().all(|kib| *kib < 40 * MIB),
        "{operators:?} KiB"
    );
}
