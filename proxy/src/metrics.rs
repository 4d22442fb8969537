//! What is counted. Labels come from closed sets only, never from what a client sends.

use std::sync::{Arc, atomic::AtomicU64};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Metric, Registry},
};

/// All metrics of the proxy.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    duration: Family<VerbLabel, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
    connections: Gauge,
    connections_refused: Family<ReasonLabel, Counter>,
    streams_active: Family<KindLabel, Gauge>,
    streams: Family<KindLabel, Counter>,
    refusals: Family<ReasonLabel, Counter>,
    token_cache: Family<ResultLabel, Counter>,
    key_fetches: Family<IssuerLabels, Counter>,
    reviews: Family<ResultLabel, Counter>,
    token_reviews: Family<ResultLabel, Counter>,
    upstream_errors: Family<KindLabel, Counter>,
    settings_errors: Counter,
    certificate_not_after: Gauge,
    log_dropped: Counter,
    audit_events: Counter,
    audit_lost: Family<AuditLostLabels, Counter>,
    ready: Gauge<f64, AtomicU64>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    verb: &'static str,
    code: u32,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct VerbLabel {
    verb: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct IssuerLabels {
    issuer: String,
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct AuditLostLabels {
    backend: &'static str,
    reason: &'static str,
}

const DURATION_BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("oidc_proxy");
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version", build);
        let mut r = Registration(&mut registry);
        let durations: fn() -> Histogram = || Histogram::new(DURATION_BUCKETS);
        let metrics = Self {
            requests: r.add("requests", "Requests, by verb and status code"),
            duration: r.add_existing(
                "request_duration_seconds",
                "Time until the answer's headers, by verb",
                Family::new_with_constructor(durations),
            ),
            in_flight: r.add("inflight_requests", "Requests without an answer so far"),
            connections: r.add("connections", "Open client connections"),
            connections_refused: r.add(
                "connections_refused",
                "Client connections there was no room for, by reason",
            ),
            streams_active: r.add("streams_active", "Upgraded connections that are open"),
            streams: r.add("streams", "Upgraded connections that were opened"),
            refusals: r.add("refusals", "Requests that were not forwarded, by reason"),
            token_cache: r.add("token_cache", "Look-ups of verified tokens"),
            key_fetches: r.add("jwks_fetch", "Fetches of an issuer's keys"),
            token_reviews: r.add("token_reviews", "TokenReviews that were asked"),
            reviews: r.add("sar", "SubjectAccessReviews that were asked"),
            upstream_errors: r.add("upstream_errors", "Faults of kube-apiserver"),
            settings_errors: r.add("settings_errors", "Published settings that were not taken"),
            certificate_not_after: r.add(
                "tls_cert_not_after_timestamp_seconds",
                "End of the serving certificate",
            ),
            log_dropped: r.add("log_dropped", "Access lines that were not written"),
            audit_events: r.add("audit_events", "Audit events that were made"),
            audit_lost: r.add(
                "audit_events_lost",
                "Audit events that a backend did not get, by reason",
            ),
            ready: r.add("ready", "1 while new requests are welcome"),
            registry: Registry::default(),
        };
        Arc::new(Self {
            registry,
            ..metrics
        })
    }

    /// In the format that Prometheus reads.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    pub(crate) fn request_started(self: &Arc<Self>) -> Guard {
        Guard::new(self.in_flight.clone())
    }

    pub(crate) fn request_answered(&self, verb: &'static str, code: u16, seconds: f64) {
        let code = u32::from(code);
        self.requests
            .get_or_create(&RequestLabels { verb, code })
            .inc();
        self.duration
            .get_or_create(&VerbLabel { verb })
            .observe(seconds);
    }

    pub(crate) fn connection(self: &Arc<Self>) -> Guard {
        Guard::new(self.connections.clone())
    }

    pub(crate) fn connection_refused(&self, reason: &'static str) {
        let labels = ReasonLabel { reason };
        self.connections_refused.get_or_create(&labels).inc();
    }

    pub(crate) fn stream(self: &Arc<Self>, kind: &'static str) -> Guard {
        self.streams.get_or_create(&KindLabel { kind }).inc();
        Guard::new(self.streams_active.get_or_create_owned(&KindLabel { kind }))
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(crate) fn token_cache(&self, hit: bool) {
        let result = if hit { "hit" } else { "miss" };
        self.token_cache
            .get_or_create(&ResultLabel { result })
            .inc();
    }

    pub(crate) fn key_fetch(&self, issuer: &str, good: bool) {
        let labels = IssuerLabels {
            issuer: issuer.to_owned(),
            result: if good { "success" } else { "error" },
        };
        self.key_fetches.get_or_create(&labels).inc();
    }

    pub(crate) fn review(&self, result: &'static str) {
        self.reviews.get_or_create(&ResultLabel { result }).inc();
    }

    pub(crate) fn token_review(&self, result: &'static str) {
        self.token_reviews
            .get_or_create(&ResultLabel { result })
            .inc();
    }

    pub(crate) fn upstream_error(&self, kind: &'static str) {
        self.upstream_errors
            .get_or_create(&KindLabel { kind })
            .inc();
    }

    pub(crate) fn settings_error(&self) {
        self.settings_errors.inc();
    }

    pub(crate) fn certificate(&self, not_after: i64) {
        self.certificate_not_after.set(not_after);
    }

    pub(crate) fn log_dropped(&self) {
        self.log_dropped.inc();
    }

    pub(crate) fn audited(&self) {
        self.audit_events.inc();
    }

    pub(crate) fn audit_lost(&self, backend: &'static str, reason: &'static str, events: usize) {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        self.audit_lost
            .get_or_create(&AuditLostLabels { backend, reason })
            .inc_by(events);
    }

    pub(crate) fn ready(&self, ready: bool) {
        self.ready.set(if ready { 1.0 } else { 0.0 });
    }
}

struct Registration<'a>(&'a mut Registry);

impl Registration<'_> {
    fn add<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.add_existing(name, help, M::default())
    }

    fn add_existing<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }
}

/// Counts something for as long as it lives.
#[derive(Debug)]
pub(crate) struct Guard(Gauge);

impl Guard {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Guard {
    /// How many there are now.
    pub(crate) fn count(&self) -> usize {
        usize::try_from(self.0.get()).unwrap_or_default()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
