//! The operator's own: a root and a serving certificate below it.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{Secret, Service},
    jiff::Timestamp,
};
use kube::{Api, Client};
use oidcproxy_crds::OidcProxyStatus;
use url::Url;

use super::{
    Authorities, Error, Issued, Kept, bare, names,
    secrets::{own, store, value},
};
use crate::{
    controller::{
        apply,
        identity::Identity,
        news::{News, Note},
        resolve::{Resolved, lifetimes},
    },
    pki::{
        authority::{Authority, Problem},
        leaf::Leaf,
        renewal::{Cause, Wanted, cause},
        succession::{self, Predecessor},
    },
};

const CA_CERTIFICATE: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
/// The root before, while it lasts.
const OLD_CERTIFICATE: &str = "previous.crt";
/// Its signature over the key of the one that has followed it.
const CROSS_CERTIFICATE: &str = "cross.crt";
const TLS_CERTIFICATE: &str = "tls.crt";
const TLS_KEY: &str = "tls.key";
/// What is done, in Events.
const ISSUE: &str = "Issue";

/// Sees to a root and a certificate below it, and stores what is new.
pub(super) async fn ensure(
    client: &Client,
    resolved: &Resolved,
    service: &Service,
    published: &OidcProxyStatus,
    news: &mut News,
) -> Result<Issued, Error> {
    let identity = &resolved.identity;
    let api: Api<Secret> = Api::namespaced(client.clone(), &identity.namespace);
    let now = Timestamp::now();
    let authority = ensure_authority(&api, resolved, published, now, news).await?;
    let domain = &resolved.cluster_domain;
    let names = names::names(identity, domain, service, &resolved.hostnames);
    let wanted = Wanted {
        names: &names,
        lifetime: resolved.lifetimes.leaf,
        renew_before: resolved.lifetimes.renew_before,
    };
    let leaf = ensure_leaf(&api, identity, &authority, &wanted, now, news).await?;
    Ok(Issued {
        ca_bundle: Some(authority.bundle()),
        authorities: Some(authorities(&authority)),
        facts: Some(leaf.facts),
        fault: None,
        server_name: identity.service_dns(),
    })
}

fn authorities(authority: &Authority) -> Authorities {
    Authorities {
        not_after: authority.not_after(),
        previous_not_after: authority.predecessor().map(Predecessor::not_after),
    }
}

/// Renews a certificate as it is, while the spec cannot be realised: what serves goes on serving. One
/// that is lost comes back for the names that are known without the spec.
pub async fn upkeep(
    client: &Client,
    identity: &Identity,
    cluster_domain: &str,
    published: &OidcProxyStatus,
    news: &mut News,
) -> Result<Option<Kept>, Error> {
    let certificate = published.certificate.as_ref();
    // Somebody else's is somebody else's to renew.
    if certificate.is_none_or(|known| known.authority_not_after.is_none()) {
        return Ok(None);
    }
    let api: Api<Secret> = Api::namespaced(client.clone(), &identity.namespace);
    let now = Timestamp::now();
    let Some(root) = apply::get(&api, &identity.authority_secret()).await? else {
        return Ok(None);
    };
    let Ok(authority) = read_authority(&root, now) else {
        return Ok(None);
    };
    let stored = apply::get(&api, &identity.serving_secret()).await?;
    let leaf = stored.as_ref().map_or(Err(Problem::Absent), read_leaf);
    let (names, lifetime) = if let Ok(leaf) = leaf {
        let facts = leaf.facts;
        let seconds = facts.not_after.as_second() - facts.not_before.as_second();
        let seconds = u64::try_from(seconds).unwrap_or_default();
        (facts.names, Duration::from_secs(seconds))
    } else {
        let services: Api<Service> = Api::namespaced(client.clone(), &identity.namespace);
        let service = apply::get(&services, &identity.name).await?;
        let endpoint = published.endpoint.as_ref();
        let host = endpoint.and_then(|url| Url::parse(url).ok()?.host().as_ref().map(bare));
        let hosts: Vec<String> = host.into_iter().collect();
        let service = service.unwrap_or_default();
        let names = names::names(identity, cluster_domain, &service, &hosts);
        (names, lifetimes(None).leaf)
    };
    let wanted = Wanted {
        names: &names,
        lifetime,
        renew_before: lifetime / 3,
    };
    let leaf = ensure_leaf(&api, identity, &authority, &wanted, now, news).await?;
    Ok(Some(Kept {
        facts: leaf.facts,
        authorities: authorities(&authority),
    }))
}

async fn ensure_authority(
    api: &Api<Secret>,
    resolved: &Resolved,
    published: &OidcProxyStatus,
    now: Timestamp,
    news: &mut News,
) -> Result<Authority, Error> {
    let identity = &resolved.identity;
    let lifetimes = resolved.lifetimes;
    let name = identity.authority_secret();
    let stored = own(api, identity, &name).await?;
    let subject = format!("{}.{}", identity.name, identity.namespace);
    let read = stored.as_ref().map(|secret| read_authority(secret, now));
    let (authority, note) = match read {
        Some(Ok(old)) if succession::is_due(&old, lifetimes.overlap, now) => {
            let new = succession::succeed(&old, &subject, lifetimes.authority, now)?;
            let until = old.not_after();
            let text = format!(
                "new certificate authority in Secret {name}: clients that trust only the one before go on working until {until}"
            );
            (new, issue("AuthorityRenewed", text))
        }
        Some(Ok(authority)) => {
            warn_of_stranger(&authority, published, &name, news);
            return Ok(authority);
        }
        None if published.certificate.is_none() => {
            let new = Authority::create(&subject, lifetimes.authority, now)?;
            let text = format!("new certificate authority in Secret {name}");
            (new, issue("AuthorityIssued", text))
        }
        lost => {
            let problem = lost.and_then(Result::err).unwrap_or(Problem::Absent);
            let new = Authority::create(&subject, lifetimes.authority, now)?;
            let text = format!(
                "new certificate authority in Secret {name}, the one before is lost: {problem}; clients have to fetch the new trust bundle"
            );
            (new, Note::warning("AuthorityReplaced", ISSUE, text))
        }
    };
    let mut data = vec![
        (CA_CERTIFICATE, authority.pem()),
        (CA_KEY, authority.key_pem()),
    ];
    if let Some(old) = authority.predecessor() {
        data.push((OLD_CERTIFICATE, old.pem()));
        data.push((CROSS_CERTIFICATE, old.cross_pem()));
    }
    store(api, identity, &name, stored, "Opaque", &data).await?;
    if note.reason == "AuthorityRenewed" {
        warn_of_stranger(&authority, published, &name, news);
    }
    news.push(note);
    Ok(authority)
}

/// A root that is sound, but that no client has been told of: somebody has put it there, or an
/// operator has died before it could say so.
fn warn_of_stranger(
    authority: &Authority,
    published: &OidcProxyStatus,
    name: &str,
    news: &mut News,
) {
    if is_strange(authority, published) {
        let text = format!(
            "the certificate authority in Secret {name} is neither the published one nor one that it has signed: clients have to fetch the new trust bundle"
        );
        news.push(Note::warning("AuthorityReplaced", ISSUE, text));
    }
}

fn issue(reason: &'static str, text: String) -> Note {
    Note::normal(reason, ISSUE, text)
}

/// Whether clients that trust what was published would refuse what this root signs.
fn is_strange(authority: &Authority, published: &OidcProxyStatus) -> bool {
    let certificate = published.certificate.as_ref();
    let is_own = certificate.is_some_and(|known| known.authority_not_after.is_some());
    let trusted = published.ca_bundle.as_deref().filter(|_| is_own);
    let continues = |trusted: &str| {
        trusted.contains(authority.pem())
            || authority
                .predecessor()
                .is_some_and(|old| trusted.contains(old.pem()))
    };
    trusted.is_some_and(|trusted| !continues(trusted))
}

async fn ensure_leaf(
    api: &Api<Secret>,
    identity: &Identity,
    authority: &Authority,
    wanted: &Wanted<'_>,
    now: Timestamp,
    news: &mut News,
) -> Result<Leaf, Error> {
    let name = identity.serving_secret();
    let stored = own(api, identity, &name).await?;
    let leaf = stored.as_ref().map_or(Err(Problem::Absent), read_leaf);
    let known = leaf.as_ref().map_err(|problem| *problem);
    let reason: Cause = match (cause(known, authority, wanted, now), leaf) {
        (None, Ok(leaf)) => return Ok(leaf),
        (Some(cause), _) => cause,
        (None, Err(problem)) => Cause::Stored(problem),
    };
    let subject = identity.service_dns();
    let leaf = Leaf::issue(authority, &subject, wanted.names, wanted.lifetime, now)?;
    let data = [
        (TLS_CERTIFICATE, leaf.chain_pem.as_str()),
        (TLS_KEY, leaf.key_pem.as_str()),
    ];
    store(api, identity, &name, stored, "kubernetes.io/tls", &data).await?;
    let text = format!("new serving certificate in Secret {name}: {reason}");
    news.push(issue("CertificateIssued", text));
    Ok(leaf)
}

/// The root, and the one before if it is still of use; one that cannot be read is as good as gone,
/// for its key is.
fn read_authority(secret: &Secret, now: Timestamp) -> Result<Authority, Problem> {
    let authority = Authority::load(value(secret, CA_CERTIFICATE)?, value(secret, CA_KEY)?, now)?;
    let old = value(secret, OLD_CERTIFICATE)
        .and_then(|old| Predecessor::load(old, value(secret, CROSS_CERTIFICATE)?, &authority, now));
    Ok(authority.following(old.ok()))
}

fn read_leaf(secret: &Secret) -> Result<Leaf, Problem> {
    Leaf::load(value(secret, TLS_CERTIFICATE)?, value(secret, TLS_KEY)?)
}
