//! `spec.authentication`: the fields and the meaning of kube-apiserver's
//! `AuthenticationConfiguration` (`apiserver.config.k8s.io/v1`), plus what an impersonating proxy
//! adds to them.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Name prefixes that no issuer may hand out: kube-apiserver gives them a meaning of its own.
/// `spec.authentication.reservedPrefixes` adds to these, it never takes one away.
pub const RESERVED_PREFIXES: [&str; 2] = ["system:", "kubeadm:"];

/// Groups that can never be allowed: membership is cluster-admin or a node's identity.
pub const NEVER_ALLOWED_GROUPS: [&str; 2] = ["system:masters", "system:nodes"];

/// Who may log in.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.jwt)").message("at least one issuer is required in jwt"),
    validation = Rule::new("!has(self.jwt) || self.jwt.all(a, self.jwt.exists_one(b, a.issuer.url == b.issuer.url))").message("issuer.url must be unique among the entries of jwt"),
    validation = Rule::new("!has(self.jwt) || self.jwt.all(j, !has(j.claimMappings.username.prefix) || !(has(self.reservedPrefixes) ? self.reservedPrefixes + ['system:', 'kubeadm:'] : ['system:', 'kubeadm:']).exists(p, j.claimMappings.username.prefix.startsWith(p)))").message("claimMappings.username.prefix must not start with a reserved prefix"),
    validation = Rule::new("!has(self.jwt) || self.jwt.all(j, !has(j.claimMappings.groups) || !has(j.claimMappings.groups.prefix) || !(has(self.reservedPrefixes) ? self.reservedPrefixes + ['system:', 'kubeadm:'] : ['system:', 'kubeadm:']).exists(p, j.claimMappings.groups.prefix.startsWith(p)))").message("claimMappings.groups.prefix must not start with a reserved prefix")
)]
pub struct Authentication {
    /// The issuers whose `id_token`s are accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub jwt: Vec<JwtAuthenticator>,
    /// Requests without a credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<Anonymous>,
    /// Tokens that no issuer claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_passthrough: Option<TokenPassthrough>,
    /// Further prefixes that no username or group may start with; `system:` and `kubeadm:` always
    /// count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub reserved_prefixes: Vec<String>,
    /// Exact names of reserved groups that issuers may hand out all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("!self.exists(g, g in ['system:masters', 'system:nodes'])").message("system:masters and system:nodes can never be allowed")
    )]
    pub allowed_reserved_groups: Vec<String>,
    /// The way out to issuers: an HTTP proxy that is asked to CONNECT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_proxy: Option<HttpProxy>,
}

/// One issuer and its rules.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JwtAuthenticator {
    /// The entry's name, in conditions, metrics and `kubeconfig.issuer`.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// Where the tokens come from.
    pub issuer: Issuer,
    /// What the claims must say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub claim_validation_rules: Vec<ClaimValidationRule>,
    /// Which claims become the identity.
    pub claim_mappings: ClaimMappings,
    /// What the mapped user must look like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub user_validation_rules: Vec<UserValidationRule>,
}

/// Where tokens come from.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.certificateAuthority) && has(self.certificateAuthorityFrom))").message("certificateAuthority and certificateAuthorityFrom exclude each other"),
    validation = Rule::new("self.audiences.size() <= 1 || (has(self.audienceMatchPolicy) && self.audienceMatchPolicy == 'MatchAny')").message("audienceMatchPolicy must be MatchAny when there are several audiences"),
    validation = Rule::new("!has(self.discoveryURL) || self.discoveryURL != self.url").message("discoveryURL must differ from url")
)]
pub struct Issuer {
    /// The `iss` of the tokens, compared byte by byte.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^https://[^/?#@ ]+(/[^?# ]*)?$')").message("must be an https URL without user information, query and fragment"))]
    pub url: String,
    /// The discovery document's own address, where it is not below `url`.
    #[serde(
        default,
        rename = "discoveryURL",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^https://[^/?#@ ]+(/[^?# ]*)?$')").message("must be an https URL without user information, query and fragment"))]
    pub discovery_url: Option<String>,
    /// PEM certificates that the issuer's TLS must chain to, instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub certificate_authority: Option<String>,
    /// The same from a ConfigMap or Secret of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority_from: Option<CertificateAuthoritySource>,
    /// The values of `aud` that are accepted.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub audiences: Vec<String>,
    /// Must be `MatchAny` when there are several audiences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience_match_policy: Option<AudienceMatchPolicy>,
    /// Of kube-apiserver's egress selectors; there is none here, so it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub egress_selector_type: Option<String>,
}

/// How a token's audiences are compared with the configured ones.
#[derive(JsonSchema, Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum AudienceMatchPolicy {
    /// One in common is enough.
    MatchAny,
}

/// A key of a ConfigMap or of a Secret; exactly one of them.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.configMapKeyRef) != has(self.secretKeyRef)").message("exactly one of configMapKeyRef and secretKeyRef is needed"))]
pub struct CertificateAuthoritySource {
    /// A key of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,
    /// A key of a Secret; only CERTIFICATE blocks are taken from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyRef>,
}

/// A key of an object in this namespace.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct KeyRef {
    /// The object's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key of its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// One rule over the claims: a claim with its value, or an expression.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.claim) != has(self.expression)").message("exactly one of claim and expression is needed"),
    validation = Rule::new("!has(self.requiredValue) || has(self.claim)").message("requiredValue goes with claim"),
    validation = Rule::new("!has(self.message) || has(self.expression)").message("message goes with expression")
)]
pub struct ClaimValidationRule {
    /// A top-level claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub claim: Option<String>,
    /// The string that the claim must be; absent: the empty string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub required_value: Option<String>,
    /// CEL over `claims` that must be true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub expression: Option<String>,
    /// Logged when the expression is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// One rule over the mapped user.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserValidationRule {
    /// CEL over `user` that must be true.
    #[schemars(length(min = 1, max = 4096))]
    pub expression: String,
    /// Logged when the expression is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// Which claims become the identity.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimMappings {
    /// The user's name.
    pub username: PrefixedClaimOrExpression,
    /// The user's groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<PrefixedClaimOrExpression>,
    /// The user's uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<ClaimOrExpression>,
    /// Further attributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["key".into()]))]
    pub extra: Vec<ExtraMapping>,
}

/// A claim with its prefix, or an expression.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.claim) != has(self.expression)").message("exactly one of claim and expression is needed"),
    validation = Rule::new("has(self.claim) == has(self.prefix)").message("prefix is needed with claim (it may be empty) and forbidden with expression")
)]
pub struct PrefixedClaimOrExpression {
    /// A top-level claim; a dot in it is part of its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub claim: Option<String>,
    /// Put before each value; may be empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub prefix: Option<String>,
    /// CEL over `claims`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub expression: Option<String>,
}

/// A claim, or an expression.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.claim) != has(self.expression)").message("exactly one of claim and expression is needed"))]
pub struct ClaimOrExpression {
    /// A top-level claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub claim: Option<String>,
    /// CEL over `claims`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub expression: Option<String>,
}

/// One further attribute.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtraMapping {
    /// A lower-case key with a domain, as `example.org/tenant`.
    #[schemars(length(min = 1, max = 256))]
    pub key: String,
    /// CEL over `claims`.
    #[schemars(length(min = 1, max = 4096))]
    pub value_expression: String,
}

/// Requests without a credential.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.conditions) || size(self.conditions) == 0 || (has(self.enabled) && self.enabled)").message("conditions go with enabled"))]
pub struct Anonymous {
    /// Forward them as `system:anonymous`.
    #[serde(default)]
    pub enabled: bool,
    /// Only for these paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub conditions: Vec<AnonymousCondition>,
}

/// One path that anonymous requests may ask for.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct AnonymousCondition {
    /// The exact path.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
}

/// Tokens that no issuer claims.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenPassthrough {
    /// Whether the cluster is asked about them.
    #[serde(default)]
    pub mode: TokenPassthroughMode,
    /// The audiences that the review asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 512)))]
    pub audiences: Vec<String>,
}

/// What happens with tokens that no issuer claims.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum TokenPassthroughMode {
    /// They are refused.
    #[default]
    Disabled,
    /// The cluster reviews them, and they are forwarded as they are.
    TokenReview,
}

/// The way out to issuers.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpProxy {
    /// The proxy's address, `http` or `https`, without a user and a password: many may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub url: Option<String>,
    /// Hosts that are reached without it: names with all that are below them, addresses, networks;
    /// with or without a port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub no_proxy: Vec<String>,
}
