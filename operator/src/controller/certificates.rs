//! The authority and the serving certificate in their Secrets. These are written by their
//! resource version, never by forced apply: an operator that has lost the lead without knowing
//! must not replace a root.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    ByteString,
    api::core::v1::{Secret, Service},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};

use super::{
    apply::{self, foreign},
    identity::{Identity, MANAGER},
    resolve::Resolved,
};
use crate::pki::{
    authority::{self, Authority, Problem},
    leaf::Leaf,
    renewal::{Cause, Wanted, cause, due_at},
};

const CA_CERTIFICATE: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const TLS_CERTIFICATE: &str = "tls.crt";
const TLS_KEY: &str = "tls.key";

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
#[derive(Debug)]
pub struct Issued {
    /// What clients trust.
    pub ca_bundle: String,
    /// When the authority ends.
    pub authority_not_after: Timestamp,
    /// The serving certificate.
    pub leaf: Leaf,
    /// When it is to be renewed.
    pub due: Timestamp,
    /// What was written this time.
    pub news: Vec<Note>,
}

/// Something that was written, for an Event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    /// In one word.
    pub reason: &'static str,
    /// In a sentence.
    pub text: String,
}

/// The names and addresses that the certificate has to carry.
pub fn names(resolved: &Resolved, service: &Service) -> BTreeSet<String> {
    let Identity {
        name, namespace, ..
    } = &resolved.identity;
    let mut names = BTreeSet::from([
        format!("{name}.{namespace}"),
        format!("{name}.{namespace}.svc"),
        format!("{name}.{namespace}.svc.{}", resolved.cluster_domain),
    ]);
    names.extend(resolved.hostnames.iter().cloned());
    names.extend(cluster_ips(service));
    names.extend(load_balancer_addresses(service));
    names.iter().map(|name| canonical(name)).collect()
}

/// The Service's own addresses.
pub fn cluster_ips(service: &Service) -> Vec<String> {
    let all = service
        .spec
        .as_ref()
        .and_then(|spec| spec.cluster_ips.clone());
    let real = |address: &String| !address.is_empty() && address != "None";
    all.unwrap_or_default().into_iter().filter(real).collect()
}

/// What its load balancer is reached by.
pub fn load_balancer_addresses(service: &Service) -> Vec<String> {
    let balancer = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref());
    ingress
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.hostname.clone().or_else(|| entry.ip.clone()))
        .collect()
}

/// One spelling for each address and name, as a certificate is read back.
fn canonical(name: &str) -> String {
    match name.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => name.to_ascii_lowercase(),
    }
}

/// Sees to a root and a certificate below it, and stores what is new.
pub async fn ensure(
    client: &Client,
    resolved: &Resolved,
    service: &Service,
) -> Result<Issued, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &resolved.identity.namespace);
    let now = Timestamp::now();
    let mut news = Vec::new();
    let authority = ensure_authority(&api, resolved, now, &mut news).await?;
    let names = names(resolved, service);
    let wanted = Wanted {
        names: &names,
        lifetime: resolved.lifetimes.leaf,
        renew_before: resolved.lifetimes.renew_before,
    };
    let leaf = ensure_leaf(
        &api,
        &resolved.identity,
        &authority,
        &wanted,
        now,
        &mut news,
    )
    .await?;
    Ok(Issued {
        ca_bundle: authority.pem().to_owned(),
        authority_not_after: authority.not_after(),
        due: due_at(&leaf.facts, wanted.renew_before),
        leaf,
        news,
    })
}

/// Renews a certificate as it is, while the spec cannot be realised: what serves goes on serving.
pub async fn upkeep(client: &Client, identity: &Identity) -> Result<Vec<Note>, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &identity.namespace);
    let now = Timestamp::now();
    let mut news = Vec::new();
    let roots = apply::get(&api, &identity.authority_secret()).await?;
    let leaves = apply::get(&api, &identity.serving_secret()).await?;
    let (Some(root), Some(leaf)) = (roots, leaves) else {
        return Ok(news);
    };
    let (Ok(authority), Ok(leaf)) = (read_authority(&root, now), read_leaf(&leaf)) else {
        return Ok(news);
    };
    let facts = &leaf.facts;
    let seconds = facts.not_after.as_second() - facts.not_before.as_second();
    let lifetime = std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let wanted = Wanted {
        names: &facts.names,
        lifetime,
        renew_before: lifetime / 3,
    };
    ensure_leaf(&api, identity, &authority, &wanted, now, &mut news).await?;
    Ok(news)
}

async fn ensure_authority(
    api: &Api<Secret>,
    resolved: &Resolved,
    now: Timestamp,
    news: &mut Vec<Note>,
) -> Result<Authority, Error> {
    let identity = &resolved.identity;
    let name = identity.authority_secret();
    let stored = own(api, identity, &name).await?;
    let problem = match stored.as_ref().map(|secret| read_authority(secret, now)) {
        Some(Ok(authority)) => return Ok(authority),
        Some(Err(problem)) => problem,
        None => Problem::Absent,
    };
    let subject = format!("{}.{}", identity.name, identity.namespace);
    let authority = Authority::create(&subject, resolved.lifetimes.authority, now)?;
    let data = [
        (CA_CERTIFICATE, authority.pem()),
        (CA_KEY, authority.key_pem()),
    ];
    store(api, identity, &name, stored, "Opaque", data).await?;
    news.push(Note {
        reason: "AuthorityIssued",
        text: format!("new certificate authority in Secret {name}: {problem}"),
    });
    Ok(authority)
}

async fn ensure_leaf(
    api: &Api<Secret>,
    identity: &Identity,
    authority: &Authority,
    wanted: &Wanted<'_>,
    now: Timestamp,
    news: &mut Vec<Note>,
) -> Result<Leaf, Error> {
    let name = identity.serving_secret();
    let stored = own(api, identity, &name).await?;
    let leaf = stored.as_ref().map_or(Err(Problem::Absent), read_leaf);
    let reason: Cause = match (
        cause(
            leaf.as_ref().map_err(|problem| *problem),
            authority,
            wanted,
            now,
        ),
        leaf,
    ) {
        (None, Ok(leaf)) => return Ok(leaf),
        (Some(cause), _) => cause,
        (None, Err(problem)) => Cause::Stored(problem),
    };
    let leaf = Leaf::issue(
        authority,
        &identity.service_dns(),
        wanted.names,
        wanted.lifetime,
        now,
    )?;
    let data = [
        (TLS_CERTIFICATE, leaf.chain_pem.as_str()),
        (TLS_KEY, leaf.key_pem.as_str()),
    ];
    store(api, identity, &name, stored, "kubernetes.io/tls", data).await?;
    news.push(Note {
        reason: "CertificateIssued",
        text: format!("new serving certificate in Secret {name}: {reason}"),
    });
    Ok(leaf)
}

fn read_authority(secret: &Secret, now: Timestamp) -> Result<Authority, Problem> {
    Authority::load(value(secret, CA_CERTIFICATE)?, value(secret, CA_KEY)?, now)
}

fn read_leaf(secret: &Secret) -> Result<Leaf, Problem> {
    Leaf::load(value(secret, TLS_CERTIFICATE)?, value(secret, TLS_KEY)?)
}

fn value<'a>(secret: &'a Secret, key: &str) -> Result<&'a [u8], Problem> {
    let data = secret.data.as_ref().and_then(|data| data.get(key));
    data.map(|bytes| bytes.0.as_slice())
        .ok_or(Problem::Unreadable)
}

/// The stored Secret, if it is there and ours; with our labels, should somebody have taken them.
async fn own(api: &Api<Secret>, identity: &Identity, name: &str) -> Result<Option<Secret>, Error> {
    let Some(mut secret) = apply::get(api, name).await? else {
        return Ok(None);
    };
    if !identity.owns(&secret.metadata) {
        return Err(foreign::<Secret>(name).into());
    }
    let labels = secret.metadata.labels.get_or_insert_default();
    let wanted = identity.labels();
    if wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
    {
        return Ok(Some(secret));
    }
    labels.extend(wanted);
    let stored = api
        .replace(name, &PostParams::default(), &secret)
        .await
        .map_err(|source| apply::Error::request::<Secret>("update", name, source))?;
    Ok(Some(stored))
}

async fn store(
    api: &Api<Secret>,
    identity: &Identity,
    name: &str,
    stored: Option<Secret>,
    type_: &str,
    data: [(&str, &str); 2],
) -> Result<(), Error> {
    let data: BTreeMap<String, ByteString> = data
        .into_iter()
        .map(|(key, text)| (key.to_owned(), ByteString(text.as_bytes().to_vec())))
        .collect();
    let mut metadata = identity.child(name);
    let old = stored.as_ref().map(|secret| &secret.metadata);
    metadata.resource_version = old.and_then(|old| old.resource_version.clone());
    metadata.annotations = old.and_then(|old| old.annotations.clone());
    let secret = Secret {
        metadata,
        type_: Some(type_.to_owned()),
        data: Some(data),
        ..Secret::default()
    };
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let (verb, result) = if stored.is_some() {
        ("update", api.replace(name, &params, &secret).await)
    } else {
        ("create", api.create(&params, &secret).await)
    };
    result.map_err(|source| apply::Error::request::<Secret>(verb, name, source))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controller::resolve::tests::resolved;

    #[test]
    fn every_way_to_the_proxy_is_in_the_certificate() {
        let resolved =
            resolved(json!({"serving": {"hostnames": ["k8s.example.com", "fd00:0::9"]}}));
        let service: Service = serde_json::from_value(json!({
            "spec": {"clusterIPs": ["10.0.0.7", "fd00::0007"]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "LB.example.com"}]}},
        }))
        .unwrap();
        let all: Vec<String> = names(&resolved, &service).into_iter().collect();
        assert_eq!(
            all,
            [
                "10.0.0.7",
                "192.0.2.1",
                "corp.auth",
                "corp.auth.svc",
                "corp.auth.svc.cluster.local",
                "fd00::7",
                "fd00::9",
                "k8s.example.com",
                "lb.example.com",
            ]
        );
    }

    #[test]
    fn a_headless_service_has_no_address() {
        let service: Service =
            serde_json::from_value(json!({"spec": {"clusterIPs": ["None"]}})).unwrap();
        assert!(cluster_ips(&service).is_empty());
    }
}
