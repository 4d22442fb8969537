//! `spec.audit`.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::authentication::KeyRef;

/// The audit trail, by `audit.k8s.io/v1`.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.policyFrom) == (has(self.webhook) || (has(self.log) && has(self.log.enabled) && self.log.enabled))").message("policyFrom goes with log.enabled or webhook"))]
pub struct Audit {
    /// The policy, in a ConfigMap of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_from: Option<KeyRef>,
    /// Write events to the container's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<AuditLog>,
    /// Send events to a webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<AuditWebhook>,
}

/// Audit events in a log.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditLog {
    /// Whether events are written.
    #[serde(default)]
    pub enabled: bool,
}

/// Audit events for a webhook.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditWebhook {
    /// A kubeconfig for the webhook, in a Secret of this namespace.
    pub kubeconfig_from: KeyRef,
}
