//! The operator's metrics.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::controller::Action;
use oidcproxy_crds::v1alpha1::status::CertificateStatus;
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
    authority_not_after: Family<Object, Gauge>,
    previous_not_after: Family<Object, Gauge>,
    /// The objects that there are series of; a family does not tell.
    known: Arc<Mutex<BTreeSet<(String, String)>>>,
}

/// When certificates end, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// The serving certificate.
    pub certificate: i64,
    /// The operator's own root, if it is behind it.
    pub authority: Option<i64>,
    /// The root before, while it lasts.
    pub previous: Option<i64>,
}

impl From<&CertificateStatus> for Ends {
    fn from(status: &CertificateStatus) -> Self {
        let seconds = |time: &Option<Time>| time.as_ref().map(|time| time.0.as_second());
        Self {
            certificate: status.not_after.0.as_second(),
            authority: seconds(&status.authority_not_after),
            previous: seconds(&status.previous_authority_not_after),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("oidc_proxy_operator");
        let reconciles = Family::<Outcome, Counter>::default();
        let durations = Histogram::new(exponential_buckets(0.01, 2.0, 12));
        let leader = Gauge::default();
        let ready = Family::<Object, Gauge>::default();
        let not_after = Family::<Object, Gauge>::default();
        let authority_not_after = Family::<Object, Gauge>::default();
        let previous_not_after = Family::<Object, Gauge>::default();
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
        registry.register(
            "authority_not_after_seconds",
            "When the root behind it ends, if it is the operator's own",
            authority_not_after.clone(),
        );
        registry.register(
            "previous_authority_not_after_seconds",
            "When the root before that ends: the last moment for clients that trust no other",
            previous_not_after.clone(),
        );
        Self {
            registry: Arc::new(registry),
            reconciles,
            durations,
            leader,
            ready,
            not_after,
            authority_not_after,
            previous_not_after,
            known: Arc::default(),
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
    pub fn observe(&self, namespace: &str, name: &str, ready: bool, ends: Option<Ends>) {
        self.known().insert((namespace.to_owned(), name.to_owned()));
        let object = object(namespace, name);
        self.ready.get_or_create(&object).set(i64::from(ready));
        for (family, end) in [
            (&self.not_after, ends.map(|ends| ends.certificate)),
            (
                &self.authority_not_after,
                ends.and_then(|ends| ends.authority),
            ),
            (
                &self.previous_not_after,
                ends.and_then(|ends| ends.previous),
            ),
        ] {
            match end {
                Some(end) => drop(family.get_or_create(&object).set(end)),
                None => drop(family.remove(&object)),
            }
        }
    }

    /// The object is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.known()
            .remove(&(namespace.to_owned(), name.to_owned()));
        let object = object(namespace, name);
        self.ready.remove(&object);
        self.not_after.remove(&object);
        self.authority_not_after.remove(&object);
        self.previous_not_after.remove(&object);
    }

    /// Only these objects are left, by namespace and name.
    pub fn retain(&self, living: &BTreeSet<(&str, &str)>) {
        let known = self.known().clone();
        for (namespace, name) in known {
            if !living.contains(&(namespace.as_str(), name.as_str())) {
                self.forget(&namespace, &name);
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<(String, String)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
        let ends = Ends {
            certificate: 1,
            authority: Some(3),
            previous: Some(2),
        };
        metrics.observe("auth", "corp", true, Some(ends));
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
        let previous = r#"previous_authority_not_after_seconds{namespace="auth",name="corp"} 2"#;
        assert!(text.contains(previous), "{text}");
        metrics.observe("auth", "corp", true, None);
        let text = metrics.encode();
        assert!(!text.contains("not_after_seconds{namespace"), "{text}");
        metrics.forget("auth", "corp");
        assert!(!metrics.encode().contains("corp"));
        metrics.observe("auth", "corp", true, Some(ends));
        metrics.observe("auth", "other", true, Some(ends));
        metrics.retain(&[("auth", "other"), ("elsewhere", "corp")].into());
        let text = metrics.encode();
        assert!(!text.contains("corp"), "{text}");
        assert_eq!(text.matches(r#"name="other""#).count(), 4, "{text}");
    }

    /// The names in docs/metrics.md, in the section about the operator.
    fn documented() -> Vec<&'static str> {
        let text = include_str!("../../docs/metrics.md");
        let (_, section) = text.split_once("\n## The operator\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
        rows.map(|row| row.split('`').next().unwrap()).collect()
    }

    /// Its exposition has the families that have a series; the code has all of them.
    #[test]
    fn the_documented_metrics_are_those_that_there_are() {
        let metrics = Metrics::default();
        let ends = Ends {
            certificate: 1,
            authority: Some(3),
            previous: Some(2),
        };
        metrics.observe("auth", "corp", true, Some(ends));
        metrics.reconcile().finish(&Err(Error::Timeout));
        let text = metrics.encode();
        for family in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let name = match family.split_once(' ').unwrap() {
                (name, "counter") => format!("{name}_total"),
                (name, "info") => format!("{name}_info"),
                (name, _) => name.to_owned(),
            };
            assert!(documented().contains(&&*name), "{name} is not documented");
        }
        let code = include_str!("metrics.rs");
        for name in documented() {
            let name = name.trim_start_matches("oidc_proxy_operator_");
            let name = name.trim_end_matches("_total").trim_end_matches("_info");
            assert!(code.contains(&format!("\"{name}\"")), "there is no {name}");
        }
    }
}
