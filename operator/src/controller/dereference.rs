//! Reads what the spec refers to. What is not there is a finding for `validate`; a request that
//! fails is an error and tried again.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use oidcproxy_crds::{
    OidcProxy,
    v1alpha1::{
        audit::Audit,
        authentication::{CertificateAuthoritySource, KeyRef},
        serving::SecretCertificate,
    },
};

/// A request for a referenced object failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {kind} {name}")]
pub struct Error {
    kind: &'static str,
    name: String,
    #[source]
    source: Box<kube::Error>,
}

/// A reference that leads nowhere; the text says which.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Missing(pub String);

/// What the references of a spec hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct References {
    /// By the index of the `jwt` entry, what its `certificateAuthorityFrom` holds.
    pub authorities: BTreeMap<usize, Result<Vec<u8>, Missing>>,
    /// What `serving.certificate.secret.caBundleFrom` holds.
    pub ca_bundle: Option<Result<Vec<u8>, Missing>>,
    /// What `audit.policyFrom` holds.
    pub audit_policy: Option<Result<Vec<u8>, Missing>>,
    /// What `audit.webhook.kubeconfigFrom` holds.
    pub audit_webhook: Option<Result<Vec<u8>, Missing>>,
    /// Whose tokens the cluster's own service accounts have, if that is known.
    pub service_account_issuer: Option<String>,
}

/// Reads everything that the spec refers to.
pub async fn read(
    client: &Client,
    namespace: &str,
    proxy: &OidcProxy,
) -> Result<References, Error> {
    let mut references = References::default();
    for (index, entry) in proxy.spec.authentication.jwt.iter().enumerate() {
        if let Some(source) = &entry.issuer.certificate_authority_from {
            let content = read_source(client, namespace, source).await?;
            references.authorities.insert(index, content);
        }
    }
    if let Some(source) = provided(proxy).and_then(|secret| secret.ca_bundle_from.as_ref()) {
        references.ca_bundle = Some(read_source(client, namespace, source).await?);
    }
    if let Some(policy) = proxy.spec.audit.as_ref().and_then(policy) {
        references.audit_policy = Some(read_config_map(client, namespace, policy).await?);
    }
    if let Some(kubeconfig) = proxy.spec.audit.as_ref().and_then(webhook) {
        references.audit_webhook = Some(read_secret(client, namespace, kubeconfig).await?);
    }
    Ok(references)
}

fn policy(audit: &Audit) -> Option<&KeyRef> {
    audit.policy_from.as_ref()
}

fn webhook(audit: &Audit) -> Option<&KeyRef> {
    Some(&audit.webhook.as_ref()?.kubeconfig_from)
}

fn provided(proxy: &OidcProxy) -> Option<&SecretCertificate> {
    let serving = proxy.spec.serving.as_ref()?;
    serving.certificate.as_ref()?.secret.as_ref()
}

/// The names of the objects that a spec refers to.
pub fn referenced_names(proxy: &OidcProxy) -> impl Iterator<Item = &str> {
    let sources = proxy
        .spec
        .authentication
        .jwt
        .iter()
        .filter_map(|entry| entry.issuer.certificate_authority_from.as_ref());
    let secret = provided(proxy);
    let sources = sources.chain(secret.and_then(|secret| secret.ca_bundle_from.as_ref()));
    let names = sources.flat_map(|source| {
        [&source.config_map_key_ref, &source.secret_key_ref]
            .into_iter()
            .flatten()
            .map(|reference| reference.name.as_str())
    });
    let audit = proxy.spec.audit.as_ref();
    let audit = [audit.and_then(policy), audit.and_then(webhook)];
    let audit = audit.into_iter().flatten();
    names
        .chain(secret.map(|secret| secret.name.as_str()))
        .chain(audit.map(|reference| reference.name.as_str()))
}

async fn read_source(
    client: &Client,
    namespace: &str,
    source: &CertificateAuthoritySource,
) -> Result<Result<Vec<u8>, Missing>, Error> {
    if let Some(reference) = &source.config_map_key_ref {
        return read_config_map(client, namespace, reference).await;
    }
    if let Some(reference) = &source.secret_key_ref {
        return read_secret(client, namespace, reference).await;
    }
    Ok(Err(Missing(
        "exactly one of configMapKeyRef and secretKeyRef is needed".into(),
    )))
}

async fn read_config_map(
    client: &Client,
    namespace: &str,
    reference: &KeyRef,
) -> Result<Result<Vec<u8>, Missing>, Error> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let object = get(&api, "ConfigMap", &reference.name).await?;
    Ok(pick("ConfigMap", reference, object, |mut map, key| {
        let text = map.data.as_mut().and_then(|data| data.remove(key));
        let bytes = map.binary_data.as_mut().and_then(|data| data.remove(key));
        text.map(String::into_bytes)
            .or_else(|| bytes.map(|value| value.0))
    }))
}

async fn read_secret(
    client: &Client,
    namespace: &str,
    reference: &KeyRef,
) -> Result<Result<Vec<u8>, Missing>, Error> {
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    let object = get(&api, "Secret", &reference.name).await?;
    Ok(pick("Secret", reference, object, |mut secret, key| {
        let bytes = secret.data.as_mut().and_then(|data| data.remove(key));
        bytes.map(|value| value.0)
    }))
}

async fn get<K>(api: &Api<K>, kind: &'static str, name: &str) -> Result<Option<K>, Error>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    api.get_opt(name).await.map_err(|source| Error {
        kind,
        name: name.to_owned(),
        source: Box::new(source),
    })
}

fn pick<K>(
    kind: &str,
    reference: &KeyRef,
    object: Option<K>,
    value: impl FnOnce(K, &str) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, Missing> {
    let KeyRef { name, key } = reference;
    let object = object.ok_or_else(|| Missing(format!("{kind} {name} is not there")))?;
    value(object, key).ok_or_else(|| Missing(format!("{kind} {name} has no key {key}")))
}
