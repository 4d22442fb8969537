//! The operator's own: a root and a serving certificate below it.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{Secret, Service},
    jiff::Timestamp,
};
use kube::{Api, Client};

use super::{
    Authorities, Error, Issued, Note, names,
    secrets::{own, store, value},
};
use crate::{
    controller::{apply, identity::Identity, resolve::Resolved},
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

/// Sees to a root and a certificate below it, and stores what is new.
pub(super) async fn ensure(
    client: &Client,
    resolved: &Resolved,
    service: &Service,
    is_known: bool,
) -> Result<Issued, Error> {
    let identity = &resolved.identity;
    let api: Api<Secret> = Api::namespaced(client.clone(), &identity.namespace);
    let now = Timestamp::now();
    let mut news = Vec::new();
    let authority = ensure_authority(&api, resolved, is_known, now, &mut news).await?;
    let names = names::names(resolved, service);
    let wanted = Wanted {
        names: &names,
        lifetime: resolved.lifetimes.leaf,
        renew_before: resolved.lifetimes.renew_before,
    };
    let leaf = ensure_leaf(&api, identity, &authority, &wanted, now, &mut news).await?;
    Ok(Issued {
        ca_bundle: Some(authority.bundle()),
        authorities: Some(Authorities {
            not_after: authority.not_after(),
            previous_not_after: authority.predecessor().map(Predecessor::not_after),
        }),
        facts: Some(leaf.facts),
        fault: None,
        server_name: identity.service_dns(),
        news,
    })
}

/// Renews a certificate as it is, while the spec cannot be realised: what serves goes on serving.
pub(super) async fn upkeep(client: &Client, identity: &Identity) -> Result<Vec<Note>, Error> {
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
    let lifetime = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
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
    is_known: bool,
    now: Timestamp,
    news: &mut Vec<Note>,
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
            (new, Note::normal("AuthorityRenewed", text))
        }
        Some(Ok(authority)) => return Ok(authority),
        None if !is_known => {
            let new = Authority::create(&subject, lifetimes.authority, now)?;
            let text = format!("new certificate authority in Secret {name}");
            (new, Note::normal("AuthorityIssued", text))
        }
        lost => {
            let problem = lost.and_then(Result::err).unwrap_or(Problem::Absent);
            let new = Authority::create(&subject, lifetimes.authority, now)?;
            let text = format!(
                "new certificate authority in Secret {name}, the one before is lost: {problem}; clients have to fetch the new trust bundle"
            );
            (new, Note::warning("AuthorityReplaced", text))
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
    news.push(note);
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
    news.push(Note::normal("CertificateIssued", text));
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
