//! What is counted. Labels come from closed sets only, never from what a client sends.

mod labels;
mod open;
mod scrape;

use std::{
    hash::Hash,
    sync::{Arc, Mutex},
    time::Duration,
};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Metric, Registry},
};

use self::labels::{
    AuditLostLabels, AuthenticationLabels, ClosedStreamLabels, IssuerLabel, KeyFetchLabels,
    KindLabel, ReasonLabel, RequestLabels, ResultLabel, RevisionLabel, VerbLabel,
};
pub(crate) use self::{
    open::{Guard, OpenStream},
    scrape::Present,
};
use crate::{forward::UpstreamError, request::RequestInfo};

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
    streams_closed: Family<ClosedStreamLabels, Counter>,
    authentications: Family<AuthenticationLabels, Counter>,
    authentication_duration: Histogram,
    groups: Histogram,
    refusals: Family<ReasonLabel, Counter>,
    token_cache: Family<ResultLabel, Counter>,
    key_fetches: Family<KeyFetchLabels, Counter>,
    keys_fetched: Family<IssuerLabel, Gauge>,
    reviews: Family<ResultLabel, Counter>,
    review_duration: Histogram,
    remembered_reviews: Counter,
    token_reviews: Family<ResultLabel, Counter>,
    upstream_errors: Family<KindLabel, Counter>,
    settings_errors: Counter,
    settings_info: Family<RevisionLabel, Gauge>,
    settings_taken: Gauge,
    certificate_not_after: Gauge,
    log_dropped: Counter,
    audit_events: Counter,
    audit_lost: Family<AuditLostLabels, Counter>,
    ready: Gauge,
    scrape: Mutex<()>,
}

const DURATION_BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];
const GROUP_BUCKETS: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 300.0, 1000.0];

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("oidc_proxy");
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version", build);
        let mut r = Registration(&mut registry);
        let durations: fn() -> Histogram = || Histogram::new(DURATION_BUCKETS);
        let metrics = Self {
            requests: r.add("requests", "Requests, by verb, resource and status code"),
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
            streams_active: r.add("streams_active", "Streams that are open, by kind"),
            streams: r.add("streams", "Streams that were opened, by kind"),
            streams_closed: r.add("streams_closed", "Streams that have ended, and why"),
            authentications: r.add("authn", "Credentials, and what became of them"),
            authentication_duration: r.add_existing(
                "authn_duration_seconds",
                "Time to verify a token that was not known",
                durations(),
            ),
            groups: r.add_existing(
                "impersonated_groups",
                "Groups of a verified token, or of whom --as names",
                Histogram::new(GROUP_BUCKETS),
            ),
            refusals: r.add("refusals", "Requests that were not forwarded, by reason"),
            token_cache: r.add("token_cache", "Look-ups of verified tokens"),
            key_fetches: r.add("jwks_fetch", "Fetches of an issuer's keys"),
            keys_fetched: r.add(
                "jwks_last_success_timestamp_seconds",
                "The last fetch of an issuer's keys that succeeded",
            ),
            token_reviews: r.add("token_reviews", "TokenReviews that were asked"),
            reviews: r.add("sar", "SubjectAccessReviews that were asked"),
            review_duration: r.add_existing(
                "sar_duration_seconds",
                "Time until a SubjectAccessReview is answered",
                durations(),
            ),
            remembered_reviews: r.add(
                "sar_cache_hits",
                "SubjectAccessReviews that need not be asked again",
            ),
            upstream_errors: r.add("upstream_errors", "Faults of kube-apiserver"),
            settings_errors: r.add("settings_errors", "Published settings that were not taken"),
            settings_info: r.add("settings_info", "The revision of the settings in use"),
            settings_taken: r.add(
                "settings_taken_timestamp_seconds",
                "When the settings in use were taken; 0 without any",
            ),
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
            scrape: Mutex::new(()),
            registry: Registry::default(),
        };
        metrics.begin_at_zero();
        Arc::new(Self {
            registry,
            ..metrics
        })
    }

    /// What has not happened so far counts as zero, not as unknown: an alert on an increase would
    /// miss the first one.
    fn begin_at_zero(&self) {
        let kinds = ["websocket", "spdy", "watch", "log", "proxy", "other"];
        let kind = |kind| KindLabel { kind };
        begin(&self.streams, kinds.map(kind));
        begin(&self.streams_active, kinds.map(kind));
        begin(&self.upstream_errors, UpstreamError::KINDS.map(kind));
        let reasons = ["limit", "address"].map(|reason| ReasonLabel { reason });
        begin(&self.connections_refused, reasons);
        let result = |result| ResultLabel { result };
        begin(&self.token_cache, ["hit", "miss"].map(result));
        let reviews = ["allowed", "denied", "error", "timeout"];
        begin(&self.reviews, reviews.map(result));
        let reviews = ["authenticated", "refused", "error"];
        begin(&self.token_reviews, reviews.map(result));
        for backend in ["log", "stdout", "webhook"] {
            let lost = ["full", "error"].map(|reason| AuditLostLabels { backend, reason });
            begin(&self.audit_lost, lost);
        }
    }

    pub(crate) fn request_started(self: &Arc<Self>) -> Guard {
        Guard::new(self.in_flight.clone())
    }

    pub(crate) fn request_answered(&self, info: &RequestInfo, code: u16, after: Duration) {
        let &RequestInfo { verb, resource, .. } = info;
        let labels = RequestLabels {
            verb,
            resource,
            code: u32::from(code),
        };
        self.requests.get_or_create(&labels).inc();
        self.duration
            .get_or_create(&VerbLabel { verb })
            .observe(after.as_secs_f64());
    }

    pub(crate) fn connection(self: &Arc<Self>) -> Guard {
        Guard::new(self.connections.clone())
    }

    pub(crate) fn connection_refused(&self, reason: &'static str) {
        let labels = ReasonLabel { reason };
        self.connections_refused.get_or_create(&labels).inc();
    }

    pub(crate) fn stream(self: &Arc<Self>, kind: &'static str) -> OpenStream {
        self.streams.get_or_create(&KindLabel { kind }).inc();
        OpenStream {
            kind,
            metrics: Arc::clone(self),
            _open: Guard::new(self.streams_active.get_or_create_owned(&KindLabel { kind })),
        }
    }

    fn stream_closed(&self, kind: &'static str, close_reason: &'static str) {
        let labels = ClosedStreamLabels { kind, close_reason };
        self.streams_closed.get_or_create(&labels).inc();
    }

    /// The tokens of an issuer that are accepted, as they are counted for every request.
    pub(crate) fn accepted_tokens(&self, issuer: &str) -> AcceptedTokens {
        let counter = |reason| {
            let labels = AuthenticationLabels {
                issuer: issuer.to_owned(),
                result: "success",
                reason,
            };
            self.authentications.get_or_create_owned(&labels)
        };
        AcceptedTokens {
            cached: counter("cached"),
            verified: counter("verified"),
        }
    }

    /// Somebody is let in without an issuer of ours.
    pub(crate) fn accepted(&self, reason: &'static str) {
        let labels = AuthenticationLabels {
            issuer: String::new(),
            result: "success",
            reason,
        };
        self.authentications.get_or_create(&labels).inc();
    }

    /// `issuer` is empty where none was asked.
    pub(crate) fn not_accepted(&self, issuer: &str, reason: &'static str) {
        let labels = AuthenticationLabels {
            issuer: issuer.to_owned(),
            result: "failure",
            reason,
        };
        self.authentications.get_or_create(&labels).inc();
    }

    pub(crate) fn verified_in(&self, time: Duration) {
        self.authentication_duration.observe(time.as_secs_f64());
    }

    pub(crate) fn groups(&self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.groups.observe(f64::from(count));
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
        let labels = KeyFetchLabels {
            issuer: issuer.to_owned(),
            result: if good { "success" } else { "error" },
        };
        self.key_fetches.get_or_create(&labels).inc();
    }

    pub(crate) fn review(&self, result: &'static str) {
        self.reviews.get_or_create(&ResultLabel { result }).inc();
    }

    pub(crate) fn reviewed_in(&self, time: Duration) {
        self.review_duration.observe(time.as_secs_f64());
    }

    pub(crate) fn remembered_review(&self) {
        self.remembered_reviews.inc();
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
}

/// The tokens of an issuer that are accepted.
#[derive(Debug)]
pub(crate) struct AcceptedTokens {
    pub(crate) cached: Counter,
    pub(crate) verified: Counter,
}

fn begin<L, M>(family: &Family<L, M>, labels: impl IntoIterator<Item = L>)
where
    L: Clone + Eq + Hash,
    M: Default,
{
    for labels in labels {
        drop(family.get_or_create(&labels));
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
