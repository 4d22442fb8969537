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
mod tests {
    use kube::runtime::controller::Action;
    use serde_json::json;

    use super::*;

    fn status(stalled: bool, certificate: bool) -> OidcProxyStatus {
        let condition = |type_: &str, status: &str| {
            json!({
                "type": type_, "status": status, "reason": "R", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        let mut all = vec![
            condition("Ready", "True"),
            condition("Serving", "True"),
            condition("IssuersReachable", "Unknown"),
        ];
        all.extend(stalled.then(|| condition("Stalled", "True")));
        let ends = json!({
            "notAfter": "1970-01-01T00:00:01Z", "serial": "ab", "authorityNotAfter": "1970-01-01T00:00:03Z",
            "previousAuthorityNotAfter": "1970-01-01T00:00:02Z",
        });
        let ends = certificate.then_some(ends);
        let mut status = json!({ "conditions": all });
        if let Some(ends) = ends {
            status["certificate"] = ends;
        }
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn what_is_gone_is_not_reported() {
        let metrics = Metrics::default();
        metrics.set_leader(true);
        metrics.observe("auth", "corp", &status(true, true));
        metrics.reconcile().finish(&Err(Error::Timeout));
        let passed = |stalled| Passed {
            action: Action::await_change(),
            stalled,
        };
        metrics.reconcile().finish(&Ok(passed(true)));
        metrics.reconcile().finish(&Ok(passed(false)));
        let text = metrics.encode();
        let has = |line: &str| assert!(text.contains(line), "{line}: {text}");
        has("oidc_proxy_operator_leader 1");
        for outcome in ["timeout", "stalled", "success"] {
            has(&format!(
                r#"oidc_proxy_operator_reconciles_total{{outcome="{outcome}"}} 1"#
            ));
        }
        has(r#"resource_ready{namespace="auth",name="corp"} 1"#);
        has(r#"authority_not_after_seconds{namespace="auth",name="corp"} 3"#);
        has(r#"previous_authority_not_after_seconds{namespace="auth",name="corp"} 2"#);
        metrics.observe("auth", "corp", &status(false, false));
        let text = metrics.encode();
        assert!(!text.contains("not_after_seconds{namespace"), "{text}");
        metrics.forget("auth", "corp");
        assert!(!metrics.encode().contains("corp"));
        metrics.observe("auth", "corp", &status(false, true));
        metrics.observe("auth", "other", &status(false, true));
        metrics.retain(&[("auth", "other"), ("elsewhere", "corp")].into());
        let text = metrics.encode();
        assert!(!text.contains("corp"), "{text}");
        assert_eq!(text.matches(r#"name="other""#).count(), 9, "{text}");
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
        metrics.observe("auth", "corp", &status(true, true));
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

    #[test]
    fn a_condition_is_shown_by_the_status_it_has() {
        let metrics = Metrics::default();
        let shown = |stalled: bool| -> Vec<String> {
            metrics.observe("auth", "corp", &status(stalled, false));
            let text = metrics.encode();
            let mut lines: Vec<String> = text
                .lines()
                .filter_map(|line| {
                    line.split_once("resource_condition{")?
                        .1
                        .strip_suffix("} 1")
                })
                .map(|labels| labels.replace(r#"namespace="auth",name="corp","#, ""))
                .collect();
            lines.sort();
            lines
        };
        for (stalled, now) in [(false, "False"), (true, "True"), (false, "False")] {
            let expected = [
                r#"type="IssuersReachable",status="Unknown""#.to_owned(),
                r#"type="MappingWarning",status="False""#.to_owned(),
                r#"type="Ready",status="True""#.to_owned(),
                r#"type="Serving",status="True""#.to_owned(),
                format!(r#"type="Stalled",status="{now}""#),
            ];
            assert_eq!(shown(stalled), expected);
        }
    }

    /// Every metric that the chart's alerts read is one of these, and there is none else.
    #[test]
    fn alerts_read_what_there_is() {
        let metrics = Metrics::default();
        metrics.set_leader(true);
        metrics.observe("auth", "corp", &status(true, true));
        let text = metrics.encode();
        let rule = include_str!("../../charts/oidc-proxy-operator/templates/prometheusrule.yaml");
        let expressions: Vec<&str> = rule
            .lines()
            .filter_map(|line| line.trim().strip_prefix("expr: "))
            .collect();
        assert!(expressions.len() >= 8, "{expressions:?}");
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        for expression in expressions {
            let names: Vec<&str> = expression
                .split(word)
                .filter(|name| name.starts_with("oidc_proxy_"))
                .collect();
            assert!(
                !names.is_empty() || expression.contains("up{"),
                "{expression}"
            );
            for name in names {
                let exists = |line: &str| line.split(['{', ' ']).next() == Some(name);
                assert!(text.lines().any(exists), "{name}: {text}");
            }
            for (label, known) in [("type=\"", &SHOWN[..]), ("status=\"", &STATUSES[..])] {
                let values = expression.split(label).skip(1);
                for value in values.filter_map(|rest| rest.split('"').next()) {
                    assert!(known.contains(&value), "{label}{value}: {expression}");
                }
            }
        }
    }
}
