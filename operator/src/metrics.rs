//! The operator's metrics.

use std::{sync::Arc, time::Instant};

use kube::runtime::controller::Action;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};

use crate::controller::Error;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Object {
    namespace: String,
    name: String,
}

/// The operator's metrics.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<Outcome, Counter>,
    durations: Histogram,
    leader: Gauge,
    ready: Family<Object, Gauge>,
    not_after: Family<Object, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("oidc_proxy_operator");
        let reconciles = Family::<Outcome, Counter>::default();
        let durations = Histogram::new(exponential_buckets(0.01, 2.0, 12));
        let leader = Gauge::default();
        let ready = Family::<Object, Gauge>::default();
        let not_after = Family::<Object, Gauge>::default();
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What this is", build);
        registry.register("reconciles", "Passes by their outcome", reconciles.clone());
        registry.register(
            "reconcile_duration_seconds",
            "How long passes take",
            durations.clone(),
        );
        registry.register("leader", "Whether this process leads", leader.clone());
        registry.register(
            "resource_ready",
            "Whether an OidcProxy is Ready",
            ready.clone(),
        );
        registry.register(
            "certificate_not_after_seconds",
            "When the serving certificate of an OidcProxy ends, in seconds since 1970",
            not_after.clone(),
        );
        Self {
            registry: Arc::new(registry),
            reconciles,
            durations,
            leader,
            ready,
            not_after,
        }
    }
}

/// One pass that is being measured.
pub struct Measured<'a> {
    metrics: &'a Metrics,
    started: Instant,
}

impl Measured<'_> {
    /// The pass has ended.
    pub fn finish(self, result: &Result<Action, Error>) {
        let outcome = match result {
            Ok(_) => "success",
            Err(error) => error.category(),
        };
        self.metrics
            .reconciles
            .get_or_create(&Outcome { outcome })
            .inc();
        self.metrics
            .durations
            .observe(self.started.elapsed().as_secs_f64());
    }
}

impl Metrics {
    /// Begins to measure a pass.
    pub fn reconcile(&self) -> Measured<'_> {
        Measured {
            metrics: self,
            started: Instant::now(),
        }
    }

    /// Whether this process leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// What is known of an object.
    pub fn observe(&self, namespace: &str, name: &str, ready: bool, not_after: Option<i64>) {
        let object = object(namespace, name);
        self.ready.get_or_create(&object).set(i64::from(ready));
        if let Some(not_after) = not_after {
            self.not_after.get_or_create(&object).set(not_after);
        }
    }

    /// The object is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        let object = object(namespace, name);
        self.ready.remove(&object);
        self.not_after.remove(&object);
    }

    /// All of it, as scrapers read it.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }
}

fn object(namespace: &str, name: &str) -> Object {
    Object {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_not_reported() {
        let metrics = Metrics::default();
        metrics.set_leader(true);
        metrics.observe("auth", "corp", true, Some(1));
        metrics.reconcile().finish(&Err(Error::Timeout));
        let text = metrics.encode();
        assert!(text.contains("oidc_proxy_operator_leader 1"), "{text}");
        assert!(
            text.contains(r#"oidc_proxy_operator_reconciles_total{outcome="timeout"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"resource_ready{namespace="auth",name="corp"} 1"#),
            "{text}"
        );
        metrics.forget("auth", "corp");
        assert!(!metrics.encode().contains("corp"));
    }
}
