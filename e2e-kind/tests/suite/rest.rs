//! At rest: little memory, no writes, and conditions that say so.

use std::{collections::BTreeMap, time::Duration};

use oidcproxy_e2e::{
    oidc_proxy,
    suite::{Suite, report},
};

const MIB: u64 = 1024;

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

#[test]
fn memory_is_small() {
    let suite = Suite::shared();
    if suite.environment.get("CLUSTER_PROVIDER") != "node" {
        // In kind the processes belong to another container.
        return;
    }
    let proxies = resident(
        "/usr/local/bin/oidc-proxy ",
        &format!("--oidc-proxy={}/corp", suite.namespace()),
    );
    report(&format!("resident memory of the proxies: {proxies:?} KiB"));
    assert!(!proxies.is_empty());
    assert!(proxies.iter().all(|kib| *kib < 20 * MIB), "{proxies:?} KiB");
    let operators = resident("/usr/local/bin/oidc-proxy-operator ", "--namespaces=*");
    report(&format!(
        "resident memory of the operators: {operators:?} KiB"
    ));
    assert!(!operators.is_empty());
    assert!(
        operators.iter().all(|kib| *kib < 40 * MIB),
        "{operators:?} KiB"
    );
}

#[test]
fn nothing_is_written_at_rest() {
    let suite = Suite::shared();
    let versions = || -> BTreeMap<String, String> {
        let kinds = "oidcproxies,deployments,services,serviceaccounts,networkpolicies,poddisruptionbudgets,roles,rolebindings,configmaps,secrets";
        let list = suite.admin.json(&["-n", suite.namespace(), "get", kinds]);
        let items = list["items"].as_array().unwrap().iter();
        items
            .filter(|item| {
                item["metadata"]["name"]
                    .as_str()
                    .unwrap()
                    .starts_with("corp")
            })
            .map(|item| {
                let metadata = &item["metadata"];
                (
                    format!("{} {}", item["kind"], metadata["name"]),
                    metadata["resourceVersion"].to_string(),
                )
            })
            .collect()
    };
    oidc_proxy::wait_ready(&suite.admin, &suite.document);
    // Another test edits one child; then there is one pass to put it right.
    let settled = oidcproxy_e2e::wait::until("a quiet moment", Duration::from_secs(90), || {
        let before = versions();
        std::thread::sleep(Duration::from_secs(20));
        (versions() == before).then_some(before)
    });
    assert!(settled.len() >= 10, "{settled:?}");
}
