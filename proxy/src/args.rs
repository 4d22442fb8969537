//! The command line.

use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};
use oidcproxy_crds::v1alpha1::{
    logging::{LogFormat, QueryValues},
    settings::{DrainSettings, LoggingSettings},
};

use crate::{
    audit::AuditFlags,
    certificate_files::CertificateFiles,
    settings::{OidcFlags, OidcProxyName, RequestPathFlags},
};

/// `EX_USAGE` of sysexits.
const USAGE: u8 = 64;

/// An OIDC login in front of kube-apiserver: authenticates tokens and forwards requests by
/// impersonation.
// Of a repeated flag the last one counts and lists grow, as with the flags of kube-apiserver.
#[derive(Debug, Parser)]
#[command(name = "oidc-proxy", version, args_override_self = true)]
pub struct Args {
    /// Settings from the status of this OidcProxy
    #[arg(
        long,
        value_name = "NAMESPACE/NAME",
        conflicts_with = "authentication_config"
    )]
    pub(crate) oidc_proxy: Option<OidcProxyName>,
    /// Settings from an AuthenticationConfiguration file, read again when it changes
    #[arg(long, value_name = "FILE")]
    pub(crate) authentication_config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) oidc: OidcFlags,
    #[command(flatten)]
    pub(crate) audit: AuditFlags,
    /// Reserved groups that issuers may hand out, by their exact names
    #[arg(
        long,
        value_name = "GROUP",
        value_delimiter = ',',
        conflicts_with = "oidc_proxy"
    )]
    pub(crate) allow_reserved_groups: Vec<String>,
    /// An issuer of the cluster's own service account tokens, which no entry may name; may be repeated
    #[arg(long, value_name = "URL", conflicts_with = "oidc_proxy")]
    pub(crate) service_account_issuer: Vec<String>,

    /// Where the Secrets that an OidcProxy speaks of are mounted
    #[arg(long, value_name = "FOLDER", default_value = "/etc/oidc-proxy")]
    pub(crate) mounts: PathBuf,
    #[command(flatten)]
    pub(crate) request_path: RequestPathFlags,

    /// How to reach kube-apiserver; unless set, as pods do
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Address to serve on; unless set, all of them
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bind_address: Option<IpAddr>,
    /// Port to serve on
    #[arg(long, value_name = "PORT", default_value_t = 6443)]
    pub(crate) secure_port: u16,
    /// Plain port for /ready, /live, /metrics and /state
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub(crate) readiness_probe_port: u16,
    /// The serving certificate and its chain, read again when it changes
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert_file: PathBuf,
    /// The serving certificate's key
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_private_key_file: PathBuf,

    /// Seconds of serving after a SIGTERM while /ready says no
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 5,
        conflicts_with = "oidc_proxy"
    )]
    pub(crate) drain_delay: u32,
    /// Seconds that streams may go on after that
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        conflicts_with = "oidc_proxy"
    )]
    pub(crate) drain_deadline: u32,
    /// Format of the access lines on standard output; unless set, classic, or what the OidcProxy says
    #[arg(long, value_enum, ignore_case = true, conflicts_with = "oidc_proxy")]
    log_format: Option<AccessLineFormat>,
    /// What access lines and audit events tell of the values in queries; those that are credentials by their key are always masked
    #[arg(long, value_enum, ignore_case = true, conflicts_with = "oidc_proxy")]
    log_query_values: Option<ShownQueryValues>,
    /// What is said on standard error, as error, warn, info or debug
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: String,
}

/// Formats of access lines.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum AccessLineFormat {
    /// As kube-oidc-proxy writes them.
    Classic,
    /// One JSON object a line.
    Json,
}

impl From<AccessLineFormat> for LogFormat {
    fn from(format: AccessLineFormat) -> Self {
        match format {
            AccessLineFormat::Classic => Self::Classic,
            AccessLineFormat::Json => Self::Json,
        }
    }
}

/// What is written of the values in queries.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ShownQueryValues {
    /// All of them.
    Keep,
    /// None of them.
    Mask,
}

impl From<ShownQueryValues> for QueryValues {
    fn from(values: ShownQueryValues) -> Self {
        match values {
            ShownQueryValues::Keep => Self::Keep,
            ShownQueryValues::Mask => Self::Mask,
        }
    }
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
            eprintln!("oidc-proxy: {}", in_one_line(&error.to_string()));
            ExitCode::from(USAGE)
        })
    }

    /// Where the serving certificate is.
    pub(crate) fn certificate(&self) -> CertificateFiles {
        CertificateFiles {
            certificate: self.tls_cert_file.clone(),
            key: self.tls_private_key_file.clone(),
        }
    }

    /// What is logged in the files-and-flags mode; a resource brings its own.
    pub(crate) fn logging(&self) -> LoggingSettings {
        LoggingSettings {
            format: self.log_format.map(Into::into).unwrap_or_default(),
            query_values: self.log_query_values.map(Into::into).unwrap_or_default(),
        }
    }

    /// How that mode takes its leave; a resource brings its own.
    pub(crate) fn drain(&self) -> DrainSettings {
        DrainSettings {
            delay_seconds: self.drain_delay,
            deadline_seconds: self.drain_deadline,
        }
    }
}

/// Without the usage and the tips that follow an empty line.
fn in_one_line(message: &str) -> String {
    let lines = message.lines().take_while(|line| !line.trim().is_empty());
    let line = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    line.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_repeated_flag_counts_and_lists_grow() {
        let args = Args::try_parse_from([
            "oidc-proxy",
            "--tls-cert-file=a",
            "--tls-cert-file=b",
            "--tls-private-key-file=c",
            "--secure-port=1",
            "--secure-port=2",
            "--log-format=json",
            "--log-format=classic",
            "--allow-reserved-groups=system:a,system:b",
            "--allow-reserved-groups=system:c",
        ])
        .unwrap();
        assert_eq!(args.tls_cert_file, PathBuf::from("b"));
        assert_eq!(args.secure_port, 2);
        assert!(matches!(args.log_format, Some(AccessLineFormat::Classic)));
        assert_eq!(
            args.allow_reserved_groups,
            ["system:a", "system:b", "system:c"]
        );
    }

    #[test]
    fn what_is_wrong_is_one_line() {
        let wrong = |arguments: &[&str]| {
            let error = Args::try_parse_from(["oidc-proxy"].iter().chain(arguments)).unwrap_err();
            in_one_line(&error.to_string())
        };
        let files = ["--tls-cert-file=a", "--tls-private-key-file=b"];
        assert_eq!(
            wrong(&["--tls-cert-file=a"]),
            "the following required arguments were not provided: --tls-private-key-file <FILE>"
        );
        assert_eq!(
            wrong(&[&files[..], &["--unheard-of"]].concat()),
            "unexpected argument '--unheard-of' found"
        );
        let format = wrong(&[&files[..], &["--log-format=xml"]].concat());
        assert!(
            format.starts_with("invalid value 'xml' for '--log-format"),
            "{format}"
        );
    }
}
