//! `spec.sessions`, `spec.limits` and `spec.drain`: how long things live and how much they take.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::Duration;

/// How long streams may live.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sessions {
    /// End a stream when the token that opened it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_at_token_expiry: Option<bool>,
    /// End a stream after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Duration>,
    /// End a stream when nothing has moved for this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
}

/// Bounds on what clients may use.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Connections at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: Option<i32>,
    /// Requests at a time on one HTTP/2 connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub streams_per_connection: Option<i32>,
    /// Bytes of one request's headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 8192, max = 1_048_576))]
    pub header_bytes: Option<i32>,
    /// Lines of one request's headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 16, max = 10_000))]
    pub header_count: Option<i32>,
    /// Requests a second of one user; further ones get 429.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_user: Option<i32>,
    /// Requests a second of one address that are refused with 401; while there are more, all of its
    /// requests get 429.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub unauthenticated_per_address: Option<i32>,
}

/// How a pod takes its leave.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// How long it still takes new requests after it has said that it is not ready; 5s unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// How long streams may go on after that; 30s unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
}
