//! `spec.serving`.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{authentication::CertificateAuthoritySource, duration::Duration};

/// Names, certificate and TLS of the serving port.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.proxyProtocol) || self.proxyProtocol != 'Required' || (has(self.trustedProxies) && size(self.trustedProxies) > 0)").message("proxyProtocol Required needs trustedProxies: nobody else is believed"))]
pub struct Serving {
    /// The names that users reach the proxy by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(
            length(min = 1, max = 253),
            regex(
                pattern = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*|[0-9a-f:.]+)$"
            )
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub hostnames: Vec<String>,
    /// What `status.endpoint` says, if set.
    #[serde(
        default,
        rename = "externalURL",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^https://[^/?#@ ]+(/[^?#@ ]*)?$')").message("must be an https URL without user information, query and fragment"))]
    pub external_url: Option<String>,
    /// Where the certificate comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// Networks whose `X-Forwarded-For` or PROXY protocol is believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub trusted_proxies: Vec<String>,
    /// Whether connections begin with a PROXY protocol header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// TLS of the serving port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// Where the certificate comes from.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.source == 'Secret' ? has(self.secret) && !has(self.selfIssued) : !has(self.secret)").message("source Secret needs secret and forbids selfIssued; source SelfIssued forbids secret")
)]
pub struct Certificate {
    /// The kind of certificate.
    pub source: CertificateSource,
    /// Of the operator's own authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_issued: Option<SelfIssued>,
    /// Of a Secret in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretCertificate>,
}

/// The kind of certificate.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum CertificateSource {
    /// The operator issues and renews it.
    #[default]
    SelfIssued,
    /// A Secret with `tls.crt` and `tls.key` holds it.
    Secret,
}

/// Lifetimes of the operator's own certificates.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(has(self.renewBefore) ? self.renewBefore : '720h') < duration(has(self.duration) ? self.duration : '2160h')").message("renewBefore must be shorter than duration (720h and 2160h unless set)"),
    validation = Rule::new("duration(has(self.duration) ? self.duration : '2160h') <= duration(has(self.authority) && has(self.authority.duration) ? self.authority.duration : '87600h')").message("authority.duration must not be shorter than duration (87600h and 2160h unless set)")
)]
pub struct SelfIssued {
    /// How long a certificate is valid, at least 1h; 2160h unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1h')").message("must be at least 1h"))]
    pub duration: Option<Duration>,
    /// How long before its end it is renewed, at least 5m; 720h unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('5m')").message("must be at least 5m"))]
    pub renew_before: Option<Duration>,
    /// The authority's lifetimes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<Authority>,
}

/// Lifetimes of the operator's own authority.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("duration(has(self.overlap) ? self.overlap : '8760h') + duration(has(self.overlap) ? self.overlap : '8760h') <= duration(has(self.duration) ? self.duration : '87600h')").message("overlap must be at most half of duration (8760h and 87600h unless set)"))]
pub struct Authority {
    /// How long the root is valid; 87600h unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// How long the old and the new root are valid together; 8760h unless set, at most half of
    /// `duration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Duration>,
}

/// A certificate that somebody else renews.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretCertificate {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// What clients must trust for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_from: Option<CertificateAuthoritySource>,
}

/// Whether connections begin with a PROXY protocol header.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum ProxyProtocol {
    /// They do not.
    #[default]
    Disabled,
    /// They do, version 1 or 2.
    Required,
}

/// TLS of the serving port.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// The oldest version that is spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
}

/// A TLS version, by kube-apiserver's names.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum TlsVersion {
    /// 1.2
    #[default]
    #[serde(rename = "VersionTLS12")]
    Tls12,
    /// 1.3
    #[serde(rename = "VersionTLS13")]
    Tls13,
}
