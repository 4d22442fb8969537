//! A thousand `OidcProxy` objects on a real control plane: the operator's binary with the chart's rights. `make test-scale`.
//!
//! There are no nodes: as far as it gets is a Deployment that makes no progress. `SCALE_RESOURCES` and `SCALE_IDLE_SECONDS`
//! change how many, and how long nothing may be written at rest.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Namespace};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use oidcproxy_crds::OidcProxy;
use oidcproxy_tests::{
    chart::Chart,
    control_plane::ControlPlane,
    process::Process,
    proxy::{kubeconfig, operator_binary},
    server::free_port,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const NAMESPACE: &str = "scale";
/// A slow machine under load; what it took is printed.
const LIMIT: Duration = Duration::from_mins(20);

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// The operator's binary as it runs in its pod, with a token of its own account.
async fn start_operator(plane: &ControlPlane, directory: &TempDir) -> Process {
    let token = plane.service_account_token("operator").await.unwrap();
    let config = kubeconfig(plane.url(), plane.ca_pem(), &json!({"token": token}));
    let path = directory.path().join("kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    let arguments = [
        format!("--namespaces={NAMESPACE}"),
        "--proxy-image=proxy:test".to_owned(),
        "--operator-namespace=default".to_owned(),
        "--lease-name=operator-oidc-proxy-operator".to_owned(),
        "--pod-name=scale".to_owned(),
        format!("--metrics-port={}", free_port()),
    ];
    let environment = [("KUBECONFIG".to_owned(), path.display().to_string())];
    Process::start(&operator_binary().unwrap(), &arguments, &environment).unwrap()
}

async fn create_all(client: &Client, count: usize) {
    let api: Api<OidcProxy> = Api::namespaced(client.clone(), NAMESPACE);
    stream::iter(0..count)
        .for_each_concurrent(8, |index| {
            let object: OidcProxy = serde_json::from_value(json!({
                "apiVersion": "oidcproxy.dev/v1alpha1", "kind": "OidcProxy",
                "metadata": {"name": format!("p{index:04}")},
                "spec": {
                    "authentication": {"jwt": [{
                        "name": "corp",
                        "issuer": {"url": format!("https://id{index}.example.com"), "audiences": ["kubernetes"]},
                        "claimMappings": {"username": {"claim": "sub", "prefix": "corp:"}},
                    }]},
                    "serving": {"hostnames": [format!("k8s{index}.example.com")]},
                },
            }))
            .unwrap();
            let api = api.clone();
            async move { drop(api.create(&PostParams::default(), &object).await.unwrap()) }
        })
        .await;
}

/// Resident memory now and at its highest, in MiB.
fn memory(process: &Process) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let field = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.split_whitespace()
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            / 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

async fn wait_until_applied(client: &Client, count: usize, started: Instant) {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let deadline = Instant::now() + LIMIT;
    loop {
        let there = deployments
            .list_metadata(&ListParams::default())
            .await
            .unwrap()
            .items
            .len();
        if there == count {
            return;
        }
        assert!(Instant::now() < deadline, "{there} of {count} Deployments");
        println!("{:.0?}: {there} Deployments", started.elapsed());
        sleep(Duration::from_secs(5)).await;
    }
}

/// All that can be published where no pod comes up.
fn published(proxy: &OidcProxy) -> bool {
    let status = proxy.status.clone().unwrap_or_default();
    let ready = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Ready");
    status.settings.is_some()
        && status.observed_generation == proxy.metadata.generation
        && ready.is_some_and(|ready| ready.reason == "DeploymentProgressing")
}

async fn wait_until_published(client: &Client, count: usize) {
    let proxies: Api<OidcProxy> = Api::namespaced(client.clone(), NAMESPACE);
    let deadline = Instant::now() + LIMIT;
    loop {
        let all = proxies.list(&ListParams::default()).await.unwrap();
        let done = all.items.iter().filter(|proxy| published(proxy)).count();
        if done == count {
            return;
        }
        assert!(Instant::now() < deadline, "{done} of {count} statuses");
        sleep(Duration::from_secs(2)).await;
    }
}

fn show(title: &str, requests: &BTreeMap<String, u64>) {
    let total: u64 = requests.values().sum();
    println!("{title}: {total} requests");
    for (what, number) in requests {
        println!("  {number:>7} {what}");
    }
}

fn is_write(what: &str) -> bool {
    !["get ", "list ", "watch "]
        .iter()
        .any(|verb| what.starts_with(verb))
}

#[tokio::test]
#[ignore = "minutes of work for a whole machine: make test-scale"]
async fn a_thousand_resources() {
    let count = number("SCALE_RESOURCES", 1000);
    let plane = ControlPlane::shared().await;
    let admin = plane.admin().await.unwrap();
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    plane
        .create::<Namespace>(Api::all(admin.clone()), object)
        .await
        .unwrap();
    let values = [
        format!("namespaces={{{NAMESPACE}}}"),
        "serviceAccount.name=operator".to_owned(),
    ];
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let kinds = [
        "CustomResourceDefinition",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
    ];
    let chart = Chart::render("operator", "default", &values).unwrap();
    chart.apply(&admin, &kinds).await.unwrap();
    let directory = TempDir::new().unwrap();
    let mut operator = start_operator(plane, &directory).await;

    let started = Instant::now();
    create_all(&admin, count).await;
    println!(
        "{count} resources are created after {:.1?}",
        started.elapsed()
    );
    wait_until_applied(&admin, count, started).await;
    println!("all children are applied after {:.1?}", started.elapsed());
    wait_until_published(&admin, count).await;
    println!("all status is published after {:.1?}", started.elapsed());
    let (now, highest) = memory(&operator);
    println!("resident memory: {now} MiB, at most {highest} MiB");
    let (requests, until) = plane.requests_of("operator", 0).unwrap();
    show("until then", &requests);
    let total: u64 = requests.values().sum();
    let expected = u64::try_from(count).unwrap();
    let applied = requests.get("patch deployments").copied();
    assert!(
        applied >= Some(expected),
        "not all was counted: {applied:?}"
    );
    let each = total / expected;
    println!("requests per resource: {each}");
    // A score of writes, and a score of reads in each of a few passes.
    assert!(each < 250, "{each} requests per resource");
    assert!(highest < 256, "the chart's limit: {highest} MiB");

    // What is under way comes to its end first.
    sleep(Duration::from_secs(20)).await;
    let (_, from) = plane.requests_of("operator", until).unwrap();
    let idle = Duration::from_secs(number("SCALE_IDLE_SECONDS", 120).try_into().unwrap());
    sleep(idle).await;
    let (requests, _) = plane.requests_of("operator", from).unwrap();
    show(&format!("in {idle:.0?} at rest"), &requests);
    let writes: BTreeMap<_, _> = requests.iter().filter(|(what, _)| is_write(what)).collect();
    println!("writes at rest: {writes:?}");
    assert!(!writes.is_empty(), "not even a Lease: nothing was counted");
    assert!(
        writes.keys().all(|what| what.ends_with(" leases")),
        "{writes:?}"
    );
    assert!(
        operator.exited().unwrap().is_none(),
        "{}",
        operator.output()
    );
    let total: u64 = requests.values().sum();
    let a_second = total / idle.as_secs();
    println!(
        "requests at rest: {a_second} a second; resident memory: {:?} MiB",
        memory(&operator)
    );
}
