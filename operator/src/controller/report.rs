//! Tells people and machines what a pass has changed.

use oidcproxy_crds::{OidcProxy, OidcProxyStatus, v1alpha1::conditions as types};

use super::{
    Context,
    certificates::Note,
    status::{is_true, writer::Writer},
};
use crate::metrics::Ends;

/// What happened in a pass that the status does not say.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Certificates that were issued.
    pub(super) issued: Vec<Note>,
    /// What somebody had edited, by name.
    pub(super) reverted: Vec<String>,
}

/// Events for what has changed, metrics for what is.
pub(super) async fn report(
    context: &Context,
    writer: &Writer,
    before: &OidcProxyStatus,
    news: &News,
) {
    let (proxy, after) = (writer.current(), writer.status());
    for note in &news.issued {
        let (reason, text) = (note.reason, note.text.as_str());
        if note.warning {
            context.events.warning(proxy, reason, "Issue", text).await;
        } else {
            context.events.normal(proxy, reason, "Issue", text).await;
        }
    }
    for name in &news.reverted {
        let (reason, note) = if name.ends_with("-kubeconfig") {
            (
                "KubeconfigReverted",
                format!(
                    "ConfigMap {name} was edited and is reverted: what it runs, runs on laptops"
                ),
            )
        } else {
            (
                "TrustBundleReverted",
                format!("ConfigMap {name} was edited and is reverted"),
            )
        };
        context.events.warning(proxy, reason, "Apply", &note).await;
    }
    if let Some((reason, message)) = newly_stalled(before, &after) {
        context
            .events
            .warning(proxy, reason, "Reconcile", message)
            .await;
    }
    if is_true(&after, types::READY) && !is_true(before, types::READY) {
        let note = "every pod serves the current settings with the current certificate";
        context
            .events
            .normal(proxy, "Ready", "Reconcile", note)
            .await;
    }
    measure(context, proxy, &after);
}

/// A reason to be stalled that was not there before.
fn newly_stalled<'a>(
    before: &OidcProxyStatus,
    after: &'a OidcProxyStatus,
) -> Option<(&'a str, &'a str)> {
    let stalled = |condition: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        condition.type_ == types::STALLED
    };
    let now = after.conditions.iter().find(stalled)?;
    let then = before.conditions.iter().find(stalled);
    let known = then.is_some_and(|then| then.reason == now.reason && then.message == now.message);
    (!known).then_some((now.reason.as_str(), now.message.as_str()))
}

fn measure(context: &Context, proxy: &OidcProxy, status: &OidcProxyStatus) {
    let namespace = proxy.metadata.namespace.as_deref().unwrap_or_default();
    let name = proxy.metadata.name.as_deref().unwrap_or_default();
    let ready = is_true(status, types::READY);
    let certificate = status.certificate.as_ref();
    context
        .metrics
        .observe(namespace, name, ready, certificate.map(Ends::from));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stalled(message: &str) -> OidcProxyStatus {
        serde_json::from_value(serde_json::json!({"conditions": [{
            "type": "Stalled", "status": "True", "reason": "InvalidSpec", "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]}))
        .unwrap()
    }

    #[test]
    fn a_reason_is_told_once() {
        let none = OidcProxyStatus::default();
        assert_eq!(
            newly_stalled(&none, &stalled("a")),
            Some(("InvalidSpec", "a"))
        );
        assert_eq!(newly_stalled(&stalled("a"), &stalled("a")), None);
        assert_eq!(
            newly_stalled(&stalled("a"), &stalled("b")),
            Some(("InvalidSpec", "b"))
        );
        assert_eq!(newly_stalled(&stalled("a"), &none), None);
    }
}
