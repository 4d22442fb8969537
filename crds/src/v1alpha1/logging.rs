//! `spec.logging`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The access lines.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Logging {
    /// Their format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<LogFormat>,
    /// What they, and audit events, tell of the values in queries. Values that are credentials by
    /// their key (`access_token` and its kin) are masked in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_values: Option<QueryValues>,
}

/// The access lines' format.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum LogFormat {
    /// `AuSuccess` and `AuFail`, as kube-oidc-proxy writes them.
    #[default]
    Classic,
    /// One JSON object a line.
    #[serde(rename = "JSON")]
    Json,
}

/// What is written of the values in queries.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum QueryValues {
    /// All of them: also the command of an `exec`.
    #[default]
    Keep,
    /// Keys only.
    Mask,
}
