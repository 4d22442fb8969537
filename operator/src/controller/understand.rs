//! The first two steps: what the spec asks for, if it may ask for it. Where it refers to what is not
//! there, or cannot be used, the proxies go on with what they have, and all else is as the spec says.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client};
use oidcproxy_crds::OidcProxy;

use super::{
    Context, Error, apply, build, dereference,
    identity::Identity,
    refusal::{Reason, Refusal},
    resolve::{self, LastGood, Resolved, Running},
    validate,
};

/// Reads the spec, and what it refers to.
pub(super) async fn understand(
    context: &Context,
    identity: &Identity,
    proxy: &OidcProxy,
) -> Result<Resolved, Error> {
    let (client, options) = (&context.client, &context.options);
    if !options.namespaces.allows(&identity.namespace) {
        let message =
            "the operator does not honour OidcProxy objects in this namespace (--namespaces)";
        return Err(Refusal::new(Reason::NamespaceNotAllowed, message).into());
    }
    let mut references = dereference::read(client, &identity.namespace, proxy).await?;
    references.service_account_issuer = context.service_account_issuer.get(client).await;
    let validated = validate::validate(proxy, identity.clone(), &references, options)?;
    let running = match resolve::settings(&validated) {
        Ok(settings) => Running::Asked(Box::new(settings)),
        // Nothing is missing: it is the spec itself.
        Err(refusal) if validated.missing.is_none() => return Err(refusal.into()),
        Err(missing) => match last_good(client, identity, proxy).await? {
            Some(last) => Running::LastGood(Box::new(last), missing),
            None => Running::Nothing(missing),
        },
    };
    Ok(resolve::resolve(validated, running, options))
}

/// What the proxies have, as far as the API server knows it: an operator that begins anew goes on
/// with the same.
async fn last_good(
    client: &Client,
    identity: &Identity,
    proxy: &OidcProxy,
) -> Result<Option<LastGood>, apply::Error> {
    let status = proxy.status.clone().unwrap_or_default();
    let Some(settings) = status.settings else {
        return Ok(None);
    };
    let api: Api<Deployment> = Api::namespaced(client.clone(), &identity.namespace);
    let deployment = apply::get(&api, &identity.name).await?;
    let own = deployment.filter(|found| identity.owns(&found.metadata));
    Ok(Some(LastGood {
        settings,
        ca_bundle: status.ca_bundle,
        mounted: own.as_ref().map(build::mounted).unwrap_or_default(),
    }))
}
