//! From a spec to a running proxy: `validate -> resolve -> build -> apply -> observe -> status`.

pub mod apply;
pub mod build;
pub mod certificates;
mod changes;
pub mod cleanup;
pub mod context;
pub mod dereference;
mod error;
pub mod identity;
mod news;
pub mod observe;
pub mod options;
mod pace;
pub mod refusal;
mod report;
pub mod resolve;
mod self_test;
mod service_account_issuer;
pub mod status;
pub mod sweep;
mod transition;
mod understand;
mod unreadable;
pub mod validate;
pub mod watch;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{Api, Resource as _, core::DeserializeGuard, runtime::controller::Action};
use oidcproxy_crds::{
    OidcProxy,
    v1alpha1::{Settings, conditions as types},
};

use self::{
    apply::{Applier, Outcome},
    build::{Prepared, Published, Workload},
    identity::Identity,
    news::News,
    observe::{handshake, pods::Pods},
    refusal::{Fault, Reason, Refusal},
    resolve::Resolved,
    status::{Problem, Progress, endpoint, writer::Writer},
    understand::understand,
};
pub use self::{context::Context, error::Error};

/// What the controller watches: an object that cannot be read does not end the watch.
pub type Guarded = DeserializeGuard<OidcProxy>;

/// Longer than this no pass takes, whatever the API server does.
const PATIENCE: Duration = Duration::from_secs(45);

/// Longer than this nobody waits for Events.
const TELLING: Duration = Duration::from_secs(5);

/// Brings one `OidcProxy` a pass further.
pub async fn reconcile(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Error> {
    let measured = context.metrics.reconcile();
    let mut news = News::default();
    let result = tokio::time::timeout(PATIENCE, Box::pin(pass(&object, &context, &mut news)))
        .await
        .unwrap_or(Err(Error::Timeout));
    if tokio::time::timeout(TELLING, news.tell(&context, &object))
        .await
        .is_err()
    {
        tracing::warn!("the API server is too slow for Events");
    }
    if let Err(error) = &result {
        context.failed(&object, error);
    }
    measured.finish(&result);
    result.map(|passed| passed.action)
}

/// A pass that has come to its end.
#[derive(Debug)]
pub struct Passed {
    /// When the next one is due.
    pub action: Action,
    /// Whether somebody has to change something first.
    pub stalled: bool,
}

async fn pass(object: &Guarded, context: &Context, news: &mut News) -> Result<Passed, Error> {
    let identity = Identity::of(object).ok_or(Error::Incomplete)?;
    let client = &context.client;
    if object.meta().deletion_timestamp.is_some() {
        cleanup::release(client, &identity, object).await?;
        context.forget(&identity);
        return Ok(Passed {
            action: Action::await_change(),
            stalled: false,
        });
    }
    let proxy = match &object.0 {
        Ok(proxy) => proxy,
        Err(invalid) => {
            unreadable::pass(context, &identity, &invalid.error, news).await?;
            return Err(Error::Unreadable(invalid.error.clone()));
        }
    };
    let allowed = context.options.namespaces.allows(&identity.namespace);
    let proxy = if allowed {
        cleanup::ensure_finalizer(client, &identity, proxy).await?
    } else {
        proxy.clone()
    };
    let mut writer = Writer::new(client, &identity, proxy);
    let before = writer.status();
    let result = Box::pin(look(context, &identity, &mut writer, news)).await;
    // What is published has been said, even if the pass came to nothing after that.
    news.changed(&before, &writer.status());
    let status = writer.status();
    report::measure(context, &identity, &status);
    Ok(Passed {
        action: context.next(&identity, &status, result?, writer.held())?,
        stalled: status::is_true(&status, types::STALLED),
    })
}

/// One pass over an object that can be read. What ended it early and is published stands within.
async fn look(
    context: &Context,
    identity: &Identity,
    writer: &mut Writer,
    news: &mut News,
) -> Result<Result<(), Error>, Error> {
    writer.first_sight().await?;
    let mut progress = Progress::default();
    let steps = advance(context, identity, writer, &mut progress, news);
    let result = Box::pin(steps).await;
    if let Err(error) = &result {
        let said = error.problem(context.pace.failures(&identity.uid));
        let Some(problem) = said.or_else(|| progress.problem.take()) else {
            return result.map(Ok);
        };
        progress.problem = Some(problem);
        if context.options.namespaces.allows(&identity.namespace) {
            look_after(context, identity, writer, &mut progress, news).await?;
        }
    }
    match writer
        .publish_progress(&progress, &context.damper)
        .await
        .map_err(Error::from)
    {
        Err(error) if error.is_invalid() => {
            let problem = error.problem(0).or(progress.problem);
            if let Some(problem) = &problem {
                writer.publish_problem(problem).await?;
            }
            Ok(Err(error))
        }
        published => published.map(|()| result),
    }
}

/// The steps, in their order. What a step has come to is in `progress` even if the next one fails.
async fn advance(
    context: &Context,
    identity: &Identity,
    writer: &mut Writer,
    progress: &mut Progress,
    news: &mut News,
) -> Result<(), Error> {
    let (client, options) = (&context.client, &context.options);
    let resolved = understand(context, identity, writer.current()).await?;
    // Whatever else this pass comes to, that is said.
    progress.problem = resolved.running.missing().map(Problem::from);
    progress.resolved = Some(resolved.clone());
    let surroundings = observe::surroundings(client).await?;
    if resolved.has_strict_egress() && surroundings.api_endpoints.is_empty() {
        let message = "the API server's endpoints are not known: its ports are open to any address";
        let fault = Fault::new("APIEndpointsUnknown", message.to_owned());
        progress.faults.network_policy = Some(fault);
    }
    let published = writer.status().settings;
    let next = resolved.running.settings();
    let role = live_role(context, identity, next).await?;
    let (transitions, uid) = (&context.transitions, &identity.uid);
    let grants = transitions.grants(uid, published.as_ref(), role.as_ref(), next);

    let memory = context.memories.of(&identity.uid);
    let applier = Applier {
        client,
        identity,
        memory: &memory,
        turns: &context.turns,
    };
    let prepared = build::foundation(&resolved, &grants, &surroundings, options);
    let foundation = applier.foundation(prepared, resolved.keeps_ways()).await?;
    let trying = context
        .self_test
        .check(client, identity, &foundation, &grants);
    if let Some(missing) = Box::pin(trying).await {
        progress.faults.rbac = Some(missing.fault());
        if next.is_some_and(|next| missing.holds_up(published.as_ref(), next)) {
            return Ok(());
        }
    }
    let (service, before) = (&foundation.service, writer.status());
    let issued = certificates::ensure(client, &resolved, service, &before, news).await?;
    let published = Published {
        ca_bundle: issued.ca_bundle.clone(),
        endpoint: endpoint(&resolved, &foundation.service),
        server_name: issued.server_name.clone(),
        account_uid: foundation
            .service_account
            .metadata
            .uid
            .clone()
            .unwrap_or_default(),
    };
    let addresses = certificates::cluster_ips(&foundation.service);
    progress.foundation = Some(foundation);
    progress.issued = Some(issued);
    writer.publish_settings(progress).await?;
    if writer.is_pruned(progress) {
        let message = "the installed CRD is older than the operator and drops fields of status.settings: update it";
        return Err(Refusal::new(Reason::SettingsPruned, message).into());
    }
    // Pods without settings would serve nobody.
    if let Some(settings) = next {
        let workload = build::workload(&resolved, settings, &published);
        let applying = run(context, &applier, &resolved, workload, progress, news);
        Box::pin(applying).await?;
        let target = handshake::Target {
            address: addresses.first().map(String::as_str),
            port: resolved.port,
            name: &published.server_name,
            ca_bundle: published.ca_bundle.as_deref(),
            serving: &settings.serving,
        };
        Box::pin(look_at(context, identity, progress, &target)).await?;
        leave_behind(context, &resolved, settings, progress).await?;
    }
    match resolved.running.missing() {
        Some(missing) => Err(missing.clone().into()),
        None => Ok(()),
    }
}

/// The pods, and what leads to them.
async fn run(
    context: &Context,
    applier: &Applier<'_>,
    resolved: &Resolved,
    workload: Workload<Prepared>,
    progress: &mut Progress,
    news: &mut News,
) -> Result<(), Error> {
    let Outcome {
        workload,
        reverted,
        waits,
    } = Box::pin(applier.workload(workload, resolved.scaling.least())).await?;
    progress.waits_for_turn = waits;
    news.reverted(&reverted);
    progress.workload = Some(workload);
    let optional = &context.optional;
    if !resolved.keeps_ways() {
        progress.faults.exposure = Box::pin(applier.exposure(resolved, optional)).await;
    }
    progress.faults.pod_monitor = Box::pin(applier.pod_monitor(resolved, optional)).await;
    Ok(())
}

/// What the pods say, and whether the Service leads to them.
async fn look_at(
    context: &Context,
    identity: &Identity,
    progress: &mut Progress,
    target: &handshake::Target<'_>,
) -> Result<(), Error> {
    let pods = Pods::observe(&context.client, identity, &context.probe).await?;
    if pods.ready() > 0 {
        let shaken = handshake::check(target).await;
        progress.handshake = Some(shaken.map_err(|error| error.to_string()));
    }
    progress.pods = Some(pods);
    Ok(())
}

/// What no pod needs any more goes: the operator's own certificate, and rights of earlier settings.
async fn leave_behind(
    context: &Context,
    resolved: &Resolved,
    settings: &Settings,
    progress: &Progress,
) -> Result<(), Error> {
    let identity = &resolved.identity;
    let Some(pods) = &progress.pods else {
        return Ok(());
    };
    let issued = progress.issued.as_ref();
    let facts = issued.and_then(|issued| issued.facts.as_ref());
    if let (Some(_), Some(facts)) = (&resolved.provided, facts)
        && pods.ready() > 0
        && pods.current(&settings.revision, &facts.serial) == pods.ready()
    {
        certificates::retire(&context.client, identity).await?;
    }
    if pods.all_have(&settings.revision) {
        context.transitions.settle(&identity.uid, settings);
    }
    Ok(())
}

/// The role as it is, while pods may still need what stands in it.
async fn live_role(
    context: &Context,
    identity: &Identity,
    next: Option<&Settings>,
) -> Result<Option<ClusterRole>, Error> {
    if next.is_some_and(|next| context.transitions.is_settled(&identity.uid, next)) {
        return Ok(None);
    }
    let api: Api<ClusterRole> = Api::all(context.client.clone());
    let role = apply::get(&api, &identity.cluster_role()).await?;
    Ok(role.filter(|role| identity.owns(&role.metadata)))
}

/// What has to go on while the spec cannot be realised: the last good settings serve on.
async fn look_after(
    context: &Context,
    identity: &Identity,
    writer: &Writer,
    progress: &mut Progress,
    news: &mut News,
) -> Result<(), Error> {
    if progress.issued.is_none() && writer.status().settings.is_some() {
        let (client, domain) = (&context.client, &context.options.cluster_domain);
        let status = writer.status();
        match certificates::upkeep(client, identity, domain, &status, news).await {
            Ok(kept) => progress.kept = kept,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "no upkeep of certificates");
            }
        }
    }
    if progress.pods.is_none() {
        progress.pods = Some(Pods::observe(&context.client, identity, &context.probe).await?);
    }
    Ok(())
}

/// When to try again after an error.
#[allow(clippy::needless_pass_by_value, reason = "the controller calls it so")]
pub fn error_policy(object: Arc<Guarded>, error: &Error, context: Arc<Context>) -> Action {
    let uid = object.meta().uid.clone().unwrap_or_default();
    match error {
        Error::Incomplete => return Action::await_change(),
        // Its certificate has to be renewed all the same.
        Error::Unreadable(_) => return Action::requeue(context.pace.settled(&uid)),
        _ => {}
    }
    Action::requeue(context.pace.after_error(&uid, error.is_conflict()))
}

#[cfg(test)]
mod tests;
