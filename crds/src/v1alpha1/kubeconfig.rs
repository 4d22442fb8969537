//! `spec.kubeconfig`.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The kubeconfig that is published for users.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.issuer) == has(self.clientID)").message("issuer and clientID go together"),
    validation = Rule::new("!has(self.extraScopes) || size(self.extraScopes) == 0 || has(self.clientID)").message("extraScopes needs issuer and clientID")
)]
pub struct Kubeconfig {
    /// The name of the issuer to log in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub issuer: Option<String>,
    /// The client to log in as.
    #[serde(default, rename = "clientID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub client_id: Option<String>,
    /// Scopes to ask for beside `openid`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 256), regex(pattern = r"^[!#-\[\]-~]+$"))
    )]
    pub extra_scopes: Vec<String>,
}
