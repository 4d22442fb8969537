//! How users log in.

use oidcproxy_crds::v1alpha1::{kubeconfig::Kubeconfig, settings::Settings};

/// How users log in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Login {
    /// The issuer's URL.
    pub issuer_url: String,
    /// Its certificate authority, if it has its own.
    pub certificate_authority: Option<String>,
    /// The client to log in as.
    pub client_id: String,
    /// Scopes beside `openid`.
    pub extra_scopes: Vec<String>,
}

/// The way to the issuer that the kubeconfig names, as the proxies know it.
pub(super) fn login(kubeconfig: Option<&Kubeconfig>, settings: Option<&Settings>) -> Option<Login> {
    let kubeconfig = kubeconfig?;
    let name = kubeconfig.issuer.as_ref()?;
    let authentication = &settings?.authentication;
    let mut issuers = authentication.issuers.iter();
    let issuer = issuers.find(|issuer| issuer.name == *name)?;
    let authority = issuer.certificate_authority.as_ref();
    Some(Login {
        issuer_url: issuer.url.clone(),
        certificate_authority: authority
            .and_then(|key| authentication.certificate_authorities.get(key).cloned()),
        client_id: kubeconfig.client_id.clone()?,
        extra_scopes: kubeconfig.extra_scopes.clone(),
    })
}
