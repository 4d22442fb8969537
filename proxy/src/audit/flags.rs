//! The `--audit-*` flags, as kube-apiserver has them.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use oidcproxy_crds::v1alpha1::{
    audit_policy::AuditPolicy, issuer_rules::FieldError, settings::AuditSettings,
};

use super::{
    auditor::{AuditBackends, PolicyError},
    rotation::Rotation,
    webhook::{Webhook, WebhookConfigError},
    webhook_backend::Batching,
};

const MEGABYTE: u64 = 1024 * 1024;

/// kube-apiserver's audit flags.
#[derive(Args, Clone, Debug)]
#[allow(clippy::struct_field_names, reason = "they are the flags' names")]
#[command(next_help_heading = "Audit flags, as kube-apiserver's")]
pub(crate) struct AuditFlags {
    /// Which requests are recorded: a Policy of audit.k8s.io/v1
    #[arg(long, value_name = "FILE")]
    audit_policy_file: Option<PathBuf>,
    /// Write events to this file; - for standard output
    #[arg(long, value_name = "FILE")]
    audit_log_path: Option<PathBuf>,
    /// Days that old files are kept; 0: for ever
    #[arg(long, value_name = "DAYS", default_value_t = 366)]
    audit_log_maxage: u32,
    /// Old files that are kept; 0: all
    #[arg(long, value_name = "FILES", default_value_t = 100)]
    audit_log_maxbackup: usize,
    /// Megabytes of a file before it is put aside; 0: no limit
    #[arg(long, value_name = "MEGABYTES", default_value_t = 100)]
    audit_log_maxsize: u32,
    /// Format of the events
    #[arg(long, value_enum, default_value_t = AuditFormat::Json)]
    audit_log_format: AuditFormat,
    /// Send events to the server of this kubeconfig
    #[arg(long, value_name = "FILE")]
    audit_webhook_config_file: Option<PathBuf>,
    /// Events that may wait to be sent
    #[arg(long, value_name = "EVENTS", default_value_t = 10_000, value_parser = positive)]
    audit_webhook_batch_buffer_size: usize,
    /// Events that are sent at a time
    #[arg(long, value_name = "EVENTS", default_value_t = 400, value_parser = positive)]
    audit_webhook_batch_max_size: usize,
    /// How long events wait for others
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    audit_webhook_batch_max_wait: Duration,
    /// How long to wait before events are sent again
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    audit_webhook_initial_backoff: Duration,
}

/// Formats of audit events.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum AuditFormat {
    /// One JSON object a line.
    Json,
}

/// Why the flags cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditFlagError {
    /// Nobody would get the events.
    #[error("--audit-policy-file needs --audit-log-path or --audit-webhook-config-file")]
    NoBackend,
    /// There would be no events.
    #[error("--audit-log-path and --audit-webhook-config-file need --audit-policy-file")]
    NoPolicy,
    /// The policy cannot be read.
    #[error("--audit-policy-file: cannot read {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// The policy is wrong.
    #[error("--audit-policy-file: {}", listed(.0))]
    Policy(Vec<FieldError>),
    /// The policy cannot be written as settings.
    #[error("--audit-policy-file: {0}")]
    Encode(#[from] serde_json::Error),
    /// The log cannot be written.
    #[error("--audit-log-path: cannot write {path}: {cause}")]
    Log {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// The webhook cannot be used.
    #[error("--audit-webhook-config-file: {0}")]
    Webhook(WebhookConfigError),
}

fn listed(errors: &[FieldError]) -> String {
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    errors.join("; ")
}

impl From<PolicyError> for AuditFlagError {
    fn from(error: PolicyError) -> Self {
        Self::Policy(error.0)
    }
}

impl AuditFlags {
    /// Whether any of them asks for something.
    pub(crate) fn are_given(&self) -> bool {
        self.audit_policy_file.is_some() || self.has_backend()
    }

    fn has_backend(&self) -> bool {
        self.audit_log_path.is_some() || self.audit_webhook_config_file.is_some()
    }

    /// The settings that they stand for; the backends are started.
    pub(crate) async fn settings(
        &self,
        backends: &mut AuditBackends,
    ) -> Result<Option<AuditSettings>, AuditFlagError> {
        let Some(path) = &self.audit_policy_file else {
            return if self.has_backend() {
                Err(AuditFlagError::NoPolicy)
            } else {
                Ok(None)
            };
        };
        if !self.has_backend() {
            return Err(AuditFlagError::NoBackend);
        }
        let text = std::fs::read_to_string(path).map_err(|cause| AuditFlagError::Read {
            path: path.clone(),
            cause,
        })?;
        let policy = AuditPolicy::from_yaml(&text).map_err(AuditFlagError::Policy)?;
        let is_output = |path: &PathBuf| path.as_os_str() == "-";
        if let Some(path) = self.audit_log_path.clone().filter(|path| !is_output(path)) {
            backends
                .add_file(path.clone(), self.rotation())
                .map_err(|cause| AuditFlagError::Log { path, cause })?;
        }
        if let Some(path) = &self.audit_webhook_config_file {
            let webhook = Webhook::from_file(path).await;
            let webhook = webhook.map_err(AuditFlagError::Webhook)?;
            backends.add_webhook(webhook, self.batching());
        }
        Ok(Some(AuditSettings {
            policy: policy.to_json()?,
            log: self.audit_log_path.as_ref().is_some_and(is_output),
            webhook: None,
        }))
    }

    fn rotation(&self) -> Rotation {
        // One there is; the flag refuses the others.
        let AuditFormat::Json = self.audit_log_format;
        Rotation {
            bytes: u64::from(self.audit_log_maxsize) * MEGABYTE,
            backups: self.audit_log_maxbackup,
            age: Duration::from_hours(24 * u64::from(self.audit_log_maxage)),
        }
    }

    fn batching(&self) -> Batching {
        Batching {
            buffer_size: self.audit_webhook_batch_buffer_size,
            max_size: self.audit_webhook_batch_max_size,
            max_wait: self.audit_webhook_batch_max_wait,
            initial_backoff: self.audit_webhook_initial_backoff,
        }
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=1_000_000).contains(&number) => Ok(number),
        _ => Err("it must be a number from 1 to 1000000".to_owned()),
    }
}

/// As Go writes them: `1m30s`.
fn duration(text: &str) -> Result<Duration, String> {
    match text.parse::<kube::core::Duration>() {
        Ok(duration) if !duration.is_negative() => Ok(duration.into()),
        _ => Err("it must be a duration such as 30s".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        audit: AuditFlags,
    }

    #[test]
    fn defaults_are_kube_apiservers() {
        let flags = Command::parse_from(["proxy"]).audit;
        assert!(!flags.are_given());
        assert_eq!(flags.batching(), Batching::default());
        let rotation = Rotation {
            bytes: 100 * MEGABYTE,
            backups: 100,
            age: Duration::from_hours(366 * 24),
        };
        assert_eq!(flags.rotation(), rotation);
    }

    #[test]
    fn odd_values_are_refused() {
        for odd in [
            "--audit-log-format=legacy",
            "--audit-webhook-batch-max-size=0",
            "--audit-webhook-batch-max-wait=-1s",
            "--audit-webhook-initial-backoff=x",
        ] {
            assert!(Command::try_parse_from(["proxy", odd]).is_err(), "{odd}");
        }
    }
}
