//! An object that does not decode: of a newer operator's definition, or written when an older one
//! let it through. It is told so like any other, by what can be read of it: its metadata, and its
//! conditions as JSON. Its proxies go on with what was published last.

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use oidcproxy_crds::{OidcProxy, OidcProxyStatus, v1alpha1::conditions as types};
use serde_json::{Value, json};

use super::{
    Context, Error, apply, certificates,
    identity::Identity,
    news::News,
    report::measure,
    status::{Problem, certificate, refused},
};

/// Says that it cannot be read, and keeps its certificate alive.
pub(super) async fn pass(
    context: &Context,
    identity: &Identity,
    error: &str,
    news: &mut News,
) -> Result<(), Error> {
    let resource = ApiResource::erase::<OidcProxy>(&());
    let (client, namespace) = (context.client.clone(), &identity.namespace);
    let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource);
    let failed = |verb, source| apply::Error::request::<OidcProxy>(verb, &identity.name, source);
    let current = api.get_opt(&identity.name).await;
    let current = current.map_err(|source| failed("get", source))?;
    // One that is gone, or another of the same name, comes up by itself.
    let Some(current) = current.filter(|found| found.uid().as_ref() == Some(&identity.uid)) else {
        return Ok(());
    };
    let before = status(&current);
    let message = format!("the object cannot be read by this operator: {error}");
    let problem = Problem {
        stalled: true,
        ..Problem::of(types::SPEC_VALID, "Unreadable", message)
    };
    let generation = current.metadata.generation.unwrap_or_default();
    let mut after = refused(&before, generation, &problem, Timestamp::now());
    let is_served = context.options.namespaces.allows(namespace);
    let kept = if is_served {
        let (client, domain) = (&context.client, &context.options.cluster_domain);
        certificates::upkeep(client, identity, domain, &before, news).await
    } else {
        Ok(None)
    };
    if let Ok(Some(kept)) = &kept {
        after.certificate = Some(certificate(&kept.facts, Some(kept.authorities)));
    }
    if after != before {
        let said = OidcProxyStatus {
            observed_generation: after.observed_generation,
            conditions: after.conditions.clone(),
            certificate: after.certificate.clone(),
            ..OidcProxyStatus::default()
        };
        // What is not said is not there, so it stays as it is; what has gone is null.
        let mut patch =
            json!({"metadata": {"resourceVersion": current.resource_version()}, "status": said});
        if let Some(certificate) = patch.pointer_mut("/status/certificate")
            && let Some(certificate) = certificate.as_object_mut()
        {
            let end = certificate.entry("previousAuthorityNotAfter");
            end.or_insert(Value::Null);
        }
        let params = PatchParams::default();
        api.patch_status(&identity.name, &params, &Patch::Merge(&patch))
            .await
            .map_err(|source| failed("update the status of", source))?;
        news.changed(&before, &after);
    }
    measure(context, identity, &after);
    kept?;
    Ok(())
}

/// As much of the status as can be read.
fn status(object: &DynamicObject) -> OidcProxyStatus {
    let all = object.data.get("status").cloned().unwrap_or_default();
    serde_json::from_value(all.clone()).unwrap_or_else(|_| OidcProxyStatus {
        observed_generation: all.get("observedGeneration").and_then(Value::as_i64),
        conditions: all
            .get("conditions")
            .and_then(|conditions| serde_json::from_value(conditions.clone()).ok())
            .unwrap_or_default(),
        certificate: all
            .get("certificate")
            .and_then(|certificate| serde_json::from_value(certificate.clone()).ok()),
        ..OidcProxyStatus::default()
    })
}
