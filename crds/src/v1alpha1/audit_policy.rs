//! kube-apiserver's audit policy (`audit.k8s.io/v1` `Policy`), read strictly and by its rules. The
//! operator reads it from a ConfigMap before it publishes it, the proxy from the settings or a
//! file.

mod reader;

use serde::Serialize;
use serde_json::Value;

use self::reader::{Reader, error};
use super::issuer_rules::FieldError;

/// The largest policy, in bytes of its text.
pub const MAX_POLICY_BYTES: usize = 64 * 1024;

const API_VERSION: &str = "audit.k8s.io/v1";
const KIND: &str = "Policy";

/// How much is recorded of a request.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum AuditLevel {
    /// Nothing.
    #[default]
    None,
    /// Who did what to which object.
    Metadata,
    /// The request's object, too.
    Request,
    /// The answer's object, too.
    RequestResponse,
}

/// When an event is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum AuditStage {
    /// As soon as it is known who asks.
    RequestReceived,
    /// When the answer of a long-running request begins.
    ResponseStarted,
    /// When the answer has ended.
    ResponseComplete,
    /// When the server failed.
    Panic,
}

/// Which requests are recorded.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditPolicy {
    /// Stages without events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub omit_stages: Vec<AuditStage>,
    /// Whether `metadata.managedFields` is left out of objects.
    pub omit_managed_fields: bool,
    /// The first that matches counts; what none matches is not recorded.
    pub rules: Vec<AuditPolicyRule>,
}

/// Requests that everything given here matches.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditPolicyRule {
    /// How much is recorded.
    pub level: AuditLevel,
    /// Names of authenticated users.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Groups, of which the user is in one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub user_groups: Vec<String>,
    /// kube-apiserver's verbs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<String>,
    /// Resources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<GroupResources>,
    /// Namespaces; the empty one stands for resources without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Paths that are of no resource, perhaps with a `*` at the end.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
    /// Stages without events, beside those of the policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub omit_stages: Vec<AuditStage>,
    /// Instead of the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub omit_managed_fields: Option<bool>,
}

/// Resources of one API group.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupResources {
    /// The group; empty for the core's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// `pods`, `pods/log`, `pods/*`, `*/scale`, `*`; none: all of the group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Names of objects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
}

impl AuditPolicy {
    /// Reads a policy. Everything that is wrong is found at once, and nothing of it is quoted.
    pub fn from_yaml(text: &str) -> Result<Self, Vec<FieldError>> {
        if text.len() > MAX_POLICY_BYTES {
            let message = format!("has more than {MAX_POLICY_BYTES} bytes");
            return Err(vec![error("policy", message)]);
        }
        let document: Value = serde_saphyr::from_str(text)
            .map_err(|_| vec![error("policy", "is not a YAML document")])?;
        let mut reader = Reader::default();
        let policy = reader.policy(&document);
        if reader.0.is_empty() {
            Ok(policy)
        } else {
            Err(reader.0)
        }
    }

    /// As JSON, without what says nothing; [`AuditPolicy::from_yaml`] reads it.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut document = serde_json::to_value(self)?;
        if let Some(fields) = document.as_object_mut() {
            fields.insert("apiVersion".to_owned(), API_VERSION.into());
            fields.insert("kind".to_owned(), KIND.into());
        }
        serde_json::to_string(&document)
    }
}

#[cfg(test)]
mod tests;
