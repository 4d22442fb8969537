//! The chart's release, by Helm 3 or Helm 4.

use std::path::Path;

use crate::{
    client::Client,
    environment::{Environment, repository},
};

/// Its namespace.
pub const SYSTEM: &str = "oidc-proxy-e2e-system";
/// Its name.
pub const RELEASE: &str = "e2e";

/// `HELM` is Helm 4, `HELM3` Helm 3.
pub fn helm(environment: &Environment, version: &str) -> Client {
    Client::new(environment.get(version), environment.get("KUBECONFIG"))
}

/// Installs or upgrades it from this checkout's chart, with these arguments beside those that all tests need.
pub fn install(environment: &Environment, version: &str, arguments: &[&str]) {
    let chart = repository().join("charts/oidc-proxy-operator");
    install_chart(environment, version, &chart, None, arguments);
}

/// The same with any chart, and images of another tag.
pub fn install_chart(
    environment: &Environment,
    version: &str,
    chart: &Path,
    other_tag: Option<&str>,
    arguments: &[&str],
) {
    let set = |key: &str, variable: &str| {
        let (repository, tag) = environment
            .get(variable)
            .rsplit_once(':')
            .expect("the image has a tag");
        let tag = other_tag.unwrap_or(tag);
        format!("{key}.repository={repository},{key}.tag={tag}")
    };
    let (operator, proxy) = (
        set("image", "OPERATOR_IMAGE"),
        set("proxy.image", "PROXY_IMAGE"),
    );
    let chart = chart.display().to_string();
    let all = [
        &[
            "upgrade",
            "--install",
            RELEASE,
            &chart,
            "--namespace",
            SYSTEM,
            "--create-namespace",
            "--wait",
            "--timeout",
            "3m",
            "--set",
            &operator,
            "--set",
            &proxy,
            "--set",
            "namespaces={*}",
            "--set",
            "fullnameOverride=oidc-proxy-operator-e2e",
        ],
        arguments,
    ];
    helm(environment, version).ok(&all.concat());
}

/// Drops Helm's records of a release that a run which was ended left half gone: Helm would refuse to upgrade it, and
/// takes its objects over when it is installed anew.
pub fn forget_unfinished(admin: &Client) {
    let records = |status: &str| {
        let selector = format!("owner=helm,name={RELEASE}{status}");
        let found = admin.ok(&[
            "-n", SYSTEM, "get", "secrets", "-l", &selector, "-o", "name",
        ]);
        found.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    if records(",status=deployed").is_empty() {
        for record in records("") {
            admin.ok(&["-n", SYSTEM, "delete", &record]);
        }
    }
}
