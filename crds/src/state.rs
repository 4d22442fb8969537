//! What a proxy says of itself at `GET /state`: the operator derives `Ready` and the issuers'
//! states from it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a proxy says of itself.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyState {
    /// The proxy's version.
    pub version: String,
    /// The settings format that it reads.
    pub format_version: u32,
    /// The revision of the settings that it runs with; absent until there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Why the newest published settings are not in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_error: Option<String>,
    /// The serial number of the certificate that it serves with, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_serial: Option<String>,
    /// Whether it is leaving.
    #[serde(default)]
    pub draining: bool,
    /// Its issuers.
    #[serde(default)]
    pub issuers: Vec<IssuerReport>,
}

/// One issuer, as a proxy sees it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerReport {
    /// The entry's name.
    pub name: String,
    /// Whether its tokens can be verified.
    pub state: IssuerState,
    /// What is wrong; never a text of the issuer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Whether an issuer's tokens can be verified.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize,
)]
pub enum IssuerState {
    /// Its keys are there.
    Ready,
    /// Its keys are there but could not be refreshed.
    Degraded,
    /// It has not been asked yet.
    #[default]
    Pending,
    /// Its discovery or its keys could not be fetched.
    Failed,
}
