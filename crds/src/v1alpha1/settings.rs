//! `status.settings`: the resolved settings, complete and without references, that a proxy runs
//! with. Everything that changes what a proxy answers is in here, and [`Settings::revision`] is a
//! hash over it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    authentication::{
        Anonymous, AudienceMatchPolicy, ClaimMappings, ClaimValidationRule, HttpProxy,
        UserValidationRule,
    },
    impersonation::{ClientIpExtra, ClientRequests, Constrained, RestrictTo, StaticExtra},
    lifecycle::Limits,
    logging::{LogFormat, QueryValues},
    serving::{ProxyProtocol, TlsVersion},
};

/// The format of [`Settings`] that this code writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// The largest settings that are published, in bytes of JSON.
pub const MAX_SETTINGS_BYTES: usize = 256 * 1024;

/// The largest certificate authority of one issuer, in bytes of PEM.
pub const MAX_CERTIFICATE_AUTHORITY_BYTES: usize = 64 * 1024;

/// What a proxy runs with.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// The format of what follows.
    pub format_version: u32,
    /// `sha256:` and the hash of all other fields.
    #[schemars(length(max = 71))]
    pub revision: String,
    /// Who may log in.
    pub authentication: AuthenticationSettings,
    /// How requests are impersonated.
    pub impersonation: ImpersonationSettings,
    /// The serving port.
    pub serving: ServingSettings,
    /// The access lines.
    pub logging: LoggingSettings,
    /// The audit trail, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditSettings>,
    /// How long streams may live.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sessions: SessionSettings,
    /// Bounds on what clients may use.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// How a pod takes its leave.
    pub drain: DrainSettings,
}

/// Who may log in.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthenticationSettings {
    /// The issuers.
    #[schemars(length(max = 64))]
    pub issuers: Vec<IssuerSettings>,
    /// PEM bundles by the name that the issuers use; equal ones stand here once.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": 65536}))]
    pub certificate_authorities: BTreeMap<String, String>,
    /// Prefixes that no username, and no group that is not allowed, may start with.
    #[schemars(length(max = 32), inner(length(max = 64)))]
    pub reserved_prefixes: Vec<String>,
    /// Reserved groups that issuers may hand out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 256)))]
    pub allowed_reserved_groups: Vec<String>,
    /// Tokens that no issuer claims are reviewed by the cluster and forwarded; absent: they are
    /// refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_passthrough: Option<TokenPassthroughSettings>,
    /// Requests without a credential; absent: they are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<Anonymous>,
    /// The way out to issuers; absent: straight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_proxy: Option<HttpProxy>,
    /// Issuers that no entry may name: those of the cluster's own service account tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 2048)))]
    pub disallowed_issuers: Vec<String>,
}

/// How tokens that no issuer claims are reviewed.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenPassthroughSettings {
    /// The audiences that the review asks for; none: the API server's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 512)))]
    pub audiences: Vec<String>,
}

/// One issuer.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerSettings {
    /// The entry's name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// The `iss` of the tokens.
    #[schemars(length(max = 2048))]
    pub url: String,
    /// The discovery document's own address.
    #[serde(
        default,
        rename = "discoveryURL",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 2048))]
    pub discovery_url: Option<String>,
    /// A key of `certificateAuthorities`; absent: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub certificate_authority: Option<String>,
    /// The values of `aud` that are accepted.
    #[schemars(length(max = 16), inner(length(max = 512)))]
    pub audiences: Vec<String>,
    /// How audiences are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience_match_policy: Option<AudienceMatchPolicy>,
    /// What the claims must say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub claim_validation_rules: Vec<ClaimValidationRule>,
    /// Which claims become the identity.
    pub claim_mappings: ClaimMappings,
    /// What the mapped user must look like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub user_validation_rules: Vec<UserValidationRule>,
    /// The signature algorithms that are accepted; empty: all nine of kube-apiserver. Only the
    /// `--oidc-signing-algs` flag sets it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9), inner(length(max = 5)))]
    pub signing_algorithms: Vec<String>,
}

/// How requests are impersonated.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImpersonationSettings {
    /// What happens with `kubectl --as`.
    pub client_requests: ClientRequests,
    /// Extra keys that `--as-user-extra` may carry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 256)))]
    pub as_extra_keys: Vec<String>,
    /// Whether `--as` is also allowed by constrained impersonation, where the server has it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub constrained: Constrained,
    /// Whether the client's address travels as an extra.
    #[serde(default, rename = "clientIPExtra", skip_serializing_if = "is_default")]
    pub client_ip_extra: ClientIpExtra,
    /// The only identities that are forwarded.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restrict_to: RestrictTo,
    /// Extras that every request carries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub extra: Vec<StaticExtra>,
}

/// The serving port.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServingSettings {
    /// The oldest TLS version that is spoken.
    pub min_tls_version: TlsVersion,
    /// Networks whose `X-Forwarded-For` or PROXY protocol is believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 64)))]
    pub trusted_proxies: Vec<String>,
    /// Whether their connections begin with a PROXY protocol header.
    #[serde(default, skip_serializing_if = "is_default")]
    pub proxy_protocol: ProxyProtocol,
}

/// How long streams may live; what is absent is not bounded.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionSettings {
    /// End a stream when the token that opened it expires.
    #[serde(default, skip_serializing_if = "is_default")]
    pub end_at_token_expiry: bool,
    /// Seconds after which a stream ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration_seconds: Option<u32>,
    /// Seconds without a byte after which a stream ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_seconds: Option<u32>,
}

/// The access lines.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggingSettings {
    /// Their format.
    pub format: LogFormat,
    /// What is written of the values in queries.
    #[serde(default, skip_serializing_if = "is_default")]
    pub query_values: QueryValues,
}

/// The audit trail.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditSettings {
    /// An `audit.k8s.io/v1` `Policy` as JSON.
    #[schemars(length(max = 65536))]
    pub policy: String,
    /// Whether events are written to the container's log.
    pub log: bool,
    /// Where events are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<MountedSecret>,
}

/// A Secret that the pod has mounted; what is in it is not told here.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MountedSecret {
    /// The folder below the proxy's folder of mounts.
    #[schemars(length(max = 63))]
    pub mount: String,
    /// `sha256:` and the hash of the content: the mount follows the Secret with a delay.
    #[schemars(length(max = 71))]
    pub hash: String,
}

/// How a pod takes its leave.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainSettings {
    /// Seconds of serving after it has said that it is not ready.
    pub delay_seconds: u32,
    /// Seconds that streams may go on after that.
    pub deadline_seconds: u32,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
