//! The operator's metrics.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use oidcproxy_crds::v1alpha1::{OidcProxyStatus, conditions, status::CertificateStatus};
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

use crate::controller::{Error, Passed, status::is_true};

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Object {
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ConditionOf {
    namespace: String,
    name: String,
    r#type: &'static str,
    status: &'static str,
}

/// The conditions that somebody may want to be woken for.
const SHOWN: [&str; 5] = [
    conditions::READY,
    conditions::SERVING,
    conditions::ISSUERS_REACHABLE,
    conditions::STALLED,
    conditions::MAPPING_WARNING,
];
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

/// The operator's metrics.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<Outcome, Counter>,
    durations: Histogram,
    leader: Gauge,
    ready: Family<Object, Gauge>,
    conditions: Family<ConditionOf, Gauge>,
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
        let conditions = Family::<ConditionOf, Gauge>::default();
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
            "resource_condition",
            "1 for the status that a condition of an OidcProxy has now",
            conditions.clone(),
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
            conditions,
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
    pub fn finish(self, result: &Result<Passed, Error>) {
        let outcome = match result {
            Ok(passed) if passed.stalled => "stalled",
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
    pub fn observe(&self, namespace: &str, name: &str, status: &OidcProxyStatus) {
        self.known().insert((namespace.to_owned(), name.to_owned()));
        let object = object(namespace, name);
        let ends = status.certificate.as_ref().map(Ends::from);
        for type_ in SHOWN {
            let found = status
                .conditions
                .iter()
                .find(|condition| condition.type_ == type_);
            // What is there only while it is true is false without.
            let now = found.map_or("False", |condition| condition.status.as_str());
            self.show(namespace, name, type_, now);
        }
        let ready = is_true(status, conditions::READY);
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
        for type_ in SHOWN {
            self.show(namespace, name, type_, "");
        }
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

    /// One series for each condition: that of its status.
    fn show(&self, namespace: &str, name: &str, type_: &'static str, now: &str) {
        for status in STATUSES {
            let labels = ConditionOf {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                r#type: type_,
                status,
            };
            if status == now {
                self.conditions.get_or_create(&labels).set(1);
            } else {
                self.conditions.remove(&labels);
            }
        }
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
mod tests;
