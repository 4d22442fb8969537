//! Flags and environment.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use anyhow::{Context as _, bail, ensure};
use clap::{Parser, Subcommand};
use oidcproxy_crds::dns_name::{is_label, is_subdomain};

use crate::{
    controller::options::{Namespaces, Options},
    telemetry::LogFormat,
    uninstall::Policy,
};

/// The command line cannot be used (`EX_USAGE`), as the proxy has it.
pub const USAGE: u8 = 64;
const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];

/// Runs OIDC proxies in front of this cluster's API server, one for each `OidcProxy`.
#[derive(Clone, Debug, Parser)]
#[command(name = "oidc-proxy-operator", version)]
pub struct Args {
    /// Namespaces in which `OidcProxy` objects are honoured; `*` for all [default: the operator's]
    #[arg(long, env = "NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Another task than to run the operator
    #[command(subcommand)]
    pub task: Option<Task>,
    /// The image of the proxies; required
    #[arg(
        long,
        env = "PROXY_IMAGE",
        default_value = "",
        hide_default_value = true
    )]
    pub proxy_image: String,
    /// When nodes pull it [default: as Kubernetes decides]
    #[arg(long, env = "PROXY_IMAGE_PULL_POLICY")]
    pub proxy_image_pull_policy: Option<String>,
    /// The domain of the cluster's DNS
    #[arg(long, env = "CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,
    /// Let an `OidcProxy` choose its image
    #[arg(long, env = "ALLOW_IMAGE_OVERRIDE")]
    pub allow_image_override: bool,
    /// Port of /metrics, /healthz and /readyz
    #[arg(long, env = "METRICS_PORT", default_value_t = 8080)]
    pub metrics_port: u16,
    /// The Lease that the leader holds
    #[arg(long, env = "LEASE_NAME", default_value = "oidc-proxy-operator")]
    pub lease_name: String,
    /// The operator's own namespace [default: that of the client configuration]
    #[arg(long, env = "POD_NAMESPACE")]
    pub operator_namespace: Option<String>,
    /// The name to hold the Lease by [default: the host's name]
    #[arg(long, env = "POD_NAME")]
    pub pod_name: Option<String>,
    /// Labels of the operator's own pods, as `key=value,..`: the proxies let them in
    #[arg(
        long,
        env = "OPERATOR_POD_LABELS",
        value_delimiter = ',',
        default_value = "app.kubernetes.io/name=oidc-proxy-operator"
    )]
    pub operator_pod_labels: Vec<String>,
    /// What is logged: a level, or directives as `info,kube=debug`
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// The format of the log
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// Another task than to run the operator.
#[derive(Clone, Debug, Subcommand)]
pub enum Task {
    /// Decides whether the operator may be uninstalled: lists the `OidcProxy` objects that remain
    Uninstall {
        /// What to do about them
        #[arg(long, value_enum, default_value = "Stop")]
        policy: Policy,
        /// How long Delete waits until they are gone
        #[arg(long, default_value_t = 240)]
        timeout_seconds: u64,
    },
}

/// What the parts of the process are told.
#[derive(Debug)]
pub struct Parts {
    /// For the controller.
    pub options: Options,
    /// For the admin server.
    pub metrics_port: u16,
    /// For leader election.
    pub lease_name: String,
    /// Who this process is.
    pub identity: String,
}

impl Args {
    /// The command line, or what is wrong with it in one line and the code to end with.
    pub fn from_command_line() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            if !error.use_stderr() {
                // Help and version, which were asked for.
                print!("{error}");
                return ExitCode::SUCCESS;
            }
            eprintln!("oidc-proxy-operator: {}", in_one_line(&error.to_string()));
            ExitCode::from(USAGE)
        })
    }

    /// The settings of each part; `default_namespace` is that of the client configuration.
    pub fn into_parts(self, default_namespace: &str) -> anyhow::Result<Parts> {
        // No `..`: a flag that nobody uses does not compile.
        let Self {
            task: _,
            namespaces,
            proxy_image,
            proxy_image_pull_policy,
            cluster_domain,
            allow_image_override,
            metrics_port,
            lease_name,
            operator_namespace,
            pod_name,
            operator_pod_labels,
            log_level: _,
            log_format: _,
        } = self;
        let operator_namespace =
            non_empty(operator_namespace).unwrap_or_else(|| default_namespace.to_owned());
        ensure!(!proxy_image.is_empty(), "--proxy-image must not be empty");
        let image_pull_policy = non_empty(proxy_image_pull_policy);
        if let Some(policy) = &image_pull_policy {
            let known = PULL_POLICIES.contains(&policy.as_str());
            ensure!(
                known,
                "--proxy-image-pull-policy: {policy:?} is none of Always, IfNotPresent and Never"
            );
        }
        let cluster_domain = cluster_domain.trim_matches('.').to_owned();
        ensure!(
            is_subdomain(&cluster_domain),
            "--cluster-domain: {cluster_domain:?} is no DNS name"
        );
        ensure!(
            is_subdomain(&lease_name),
            "--lease-name: {lease_name:?} is no name of an object"
        );
        Ok(Parts {
            options: Options {
                namespaces: parse_namespaces(&namespaces, &operator_namespace)?,
                proxy_image,
                image_pull_policy,
                cluster_domain,
                allow_image_override,
                operator_namespace,
                operator_pod_labels: parse_labels(&operator_pod_labels)?,
            },
            metrics_port,
            lease_name,
            identity: non_empty(pod_name).unwrap_or_else(host_name),
        })
    }
}

fn non_empty(value: Option<String>) -> Option<String> {
    value.filter(|text| !text.is_empty())
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", name.trim(), std::process::id())
}

/// A star stands alone: beside names it would be a wider right than whoever wrote them meant.
fn parse_namespaces(given: &[String], own: &str) -> anyhow::Result<Namespaces> {
    let names: BTreeSet<String> = given
        .iter()
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    if names.contains("*") {
        ensure!(names.len() == 1, "--namespaces: * stands alone");
        return Ok(Namespaces::All);
    }
    if let Some(wrong) = names.iter().find(|name| !is_label(name)) {
        bail!("--namespaces: {wrong:?} is no name of a namespace");
    }
    Ok(Namespaces::Listed(if names.is_empty() {
        BTreeSet::from([own.to_owned()])
    } else {
        names
    }))
}

/// Without the usage and the tips that follow an empty line.
fn in_one_line(message: &str) -> String {
    let lines = message.lines().take_while(|line| !line.trim().is_empty());
    let line = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    line.trim_start_matches("error: ").to_owned()
}

fn parse_labels(given: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    given
        .iter()
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair
                .split_once('=')
                .context("--operator-pod-labels takes key=value pairs")?;
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Parts {
        let base = ["operator", "--proxy-image=proxy:1"];
        Args::try_parse_from(base.iter().chain(flags))
            .unwrap()
            .into_parts("home")
            .unwrap()
    }

    #[test]
    fn by_default_only_the_own_namespace_counts() {
        let options = parse(&["--operator-namespace="]).options;
        assert!(options.namespaces.allows("home"));
        assert!(!options.namespaces.allows("auth"));
        assert_eq!(options.cluster_domain, "cluster.local");
    }

    #[test]
    fn namespaces_are_a_list_or_a_star() {
        let listed = parse(&["--namespaces=auth, dev,"]).options.namespaces;
        assert!(listed.allows("auth") && listed.allows("dev") && !listed.allows("home"));
        assert!(parse(&["--namespaces=*"]).options.namespaces.allows("any"));
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for (flag, says) in [
            ("--namespaces=*,auth", "--namespaces: * stands alone"),
            (
                "--namespaces=auth,A_b",
                "--namespaces: \"A_b\" is no name of a namespace",
            ),
            (
                "--proxy-image-pull-policy=Sometimes",
                "--proxy-image-pull-policy: \"Sometimes\" is none of Always, IfNotPresent and Never",
            ),
            (
                "--cluster-domain=a b",
                "--cluster-domain: \"a b\" is no DNS name",
            ),
            (
                "--lease-name=",
                "--lease-name: \"\" is no name of an object",
            ),
        ] {
            let args = Args::try_parse_from(["operator", "--proxy-image=x", flag]).unwrap();
            let error = args.into_parts("home").unwrap_err();
            assert_eq!(error.to_string(), says);
        }
        let error = Args::try_parse_from(["operator", "--nope"]).unwrap_err();
        assert_eq!(
            in_one_line(&error.to_string()),
            "unexpected argument '--nope' found"
        );
        let options = parse(&["--proxy-image-pull-policy=", "--cluster-domain=k8s.local."]).options;
        assert_eq!(options.image_pull_policy, None);
        assert_eq!(options.cluster_domain, "k8s.local");
    }

    #[test]
    fn uninstalling_needs_no_image_and_running_does() {
        let args = Args::try_parse_from(["operator", "uninstall", "--policy=Delete"]).unwrap();
        let Some(Task::Uninstall { policy, .. }) = args.task else {
            panic!("no task")
        };
        assert_eq!(policy, Policy::Delete);
        assert!(Args::try_parse_from(["operator", "uninstall", "--policy=delete"]).is_err());
        let none = Args::try_parse_from(["operator"]).unwrap();
        assert!(none.into_parts("home").is_err());
    }

    #[test]
    fn labels_are_pairs() {
        let options = parse(&["--operator-pod-labels=a=b,c=d"]).options;
        assert_eq!(options.operator_pod_labels.len(), 2);
        let wrong =
            Args::try_parse_from(["x", "--proxy-image=p", "--operator-pod-labels=a"]).unwrap();
        assert!(wrong.into_parts("home").is_err());
    }
}
