//! `spec.impersonation`.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The extra of [`ClientIpExtra`], by kube-oidc-proxy's name.
pub const REMOTE_CLIENT_IP: &str = "remote-client-ip";

/// How requests are impersonated.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Impersonation {
    /// What happens with `kubectl --as`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_requests: Option<ClientRequests>,
    /// Extra keys that `--as-user-extra` may carry; `*` stands for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub as_extra_keys: Vec<String>,
    /// Whether `--as` is also allowed by constrained impersonation (KEP-5284); Auto unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constrained: Option<Constrained>,
    /// Whether the client's address travels as an extra.
    #[serde(
        default,
        rename = "clientIPExtra",
        skip_serializing_if = "Option::is_none"
    )]
    pub client_ip_extra: Option<ClientIpExtra>,
    /// Extras that every request carries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["key".into()]))]
    pub extra: Vec<StaticExtra>,
    /// The only identities that are forwarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restrict_to: Option<RestrictTo>,
}

/// What happens with `kubectl --as`.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum ClientRequests {
    /// The cluster is asked whether the user may, by SubjectAccessReview.
    #[default]
    Review,
    /// It is refused.
    Deny,
}

/// Constrained impersonation (KEP-5284).
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Constrained {
    /// Where the server has it.
    #[default]
    Auto,
    /// Not even there.
    Never,
}

/// Whether the client's address travels as an extra.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum ClientIpExtra {
    /// It does not.
    #[default]
    Disabled,
    /// As `remote-client-ip`.
    Enabled,
}

/// An extra that every request carries.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct StaticExtra {
    /// Its key, in lower case.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[a-z0-9/._\-]+$"))]
    pub key: String,
    /// Its values.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 1024)))]
    pub values: Vec<String>,
}

/// The only identities that are forwarded.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct RestrictTo {
    /// Users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Names>,
    /// Groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Names>,
}

/// Exact names.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Names {
    /// The names.
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 1024)))]
    pub names: Vec<String>,
}
