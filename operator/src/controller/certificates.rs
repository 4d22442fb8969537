//! The serving certificate: the operator's own, or one of a Secret that somebody else looks after.
//! The operator's Secrets are written by their resource version, never by forced apply: an
//! operator that has lost the lead without knowing must not replace a root.

mod names;
mod provided;
mod secrets;
mod self_issued;

use k8s_openapi::{
    api::core::v1::{Secret, Service},
    jiff::Timestamp,
};
use kube::{Api, Client};
use oidcproxy_crds::OidcProxyStatus;
use url::Host;

pub use self::{
    names::{cluster_ips, load_balancer_addresses},
    self_issued::upkeep,
};
use super::{apply, identity::Identity, news::News, refusal::Fault, resolve::Resolved};
use crate::pki::{authority, leaf::Facts};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Secrets.
    #[error(transparent)]
    Apply(#[from] apply::Error),
    /// The certificates.
    #[error(transparent)]
    Issue(#[from] authority::Error),
}

/// The certificates as they are stored now.
#[derive(Clone, Debug)]
pub struct Issued {
    /// What clients trust; nothing with a public authority.
    pub ca_bundle: Option<String>,
    /// The operator's own roots, if they are behind it.
    pub authorities: Option<Authorities>,
    /// What the serving certificate says; nothing where somebody else's cannot be used.
    pub facts: Option<Facts>,
    /// What is wrong with somebody else's.
    pub fault: Option<Fault>,
    /// A name that the certificate is for, as the Service is to be asked for it.
    pub server_name: String,
}

/// The operator's own roots.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Authorities {
    /// When the root ends.
    pub not_after: Timestamp,
    /// When the one before ends, while it lasts.
    pub previous_not_after: Option<Timestamp>,
}

/// Sees to the certificate that the spec asks for; `published` says what clients may trust already.
/// What is written is in `news` even if a later step fails.
pub async fn ensure(
    client: &Client,
    resolved: &Resolved,
    service: &Service,
    published: &OidcProxyStatus,
    news: &mut News,
) -> Result<Issued, Error> {
    match &resolved.provided {
        Some(provided) => provided::look(client, resolved, provided, service).await,
        None => self_issued::ensure(client, resolved, service, published, news).await,
    }
}

/// The operator's own certificate while the spec cannot be realised.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What it says.
    pub facts: Facts,
    /// The roots behind it.
    pub authorities: Authorities,
}

/// A host as a certificate names it.
fn bare(host: &Host<&str>) -> String {
    match host {
        Host::Domain(name) => (*name).to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}

/// Removes the operator's own serving certificate, once no pod needs it any longer. The authority
/// stays: kubeconfigs carry it, and a way back leads to the same root.
pub async fn retire(client: &Client, identity: &Identity) -> Result<(), Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &identity.namespace);
    apply::delete_own(&api, identity, &identity.serving_secret()).await?;
    Ok(())
}
