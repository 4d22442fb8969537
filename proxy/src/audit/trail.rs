//! Where the records of requests go.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use http::Request;
use oidcproxy_crds::v1alpha1::{
    logging::{LogFormat, QueryValues},
    settings::LoggingSettings,
};

use super::{AccessLog, Auditor, Exchange, RequestRecord};
use crate::{
    drain::Drain, metrics::Metrics, request::RequestInfo, settings::Settings, traces::Traces,
};

/// Where the records of requests go.
#[derive(Debug)]
pub(crate) struct Trail {
    pub(super) access_log: AccessLog,
    pub(super) drain: Drain,
    pub(super) metrics: Arc<Metrics>,
    traces: Traces,
    /// What the settings that were last in use say: there may be none right now.
    is_json: AtomicBool,
    masks_queries: AtomicBool,
    auditor: ArcSwapOption<Auditor>,
}

impl Trail {
    pub(crate) fn new(
        access_log: AccessLog,
        drain: Drain,
        metrics: Arc<Metrics>,
        traces: Traces,
    ) -> Arc<Self> {
        Arc::new(Self {
            access_log,
            drain,
            metrics,
            traces,
            is_json: AtomicBool::new(false),
            masks_queries: AtomicBool::new(false),
            auditor: ArcSwapOption::empty(),
        })
    }

    /// The record of a request that has just come.
    pub(crate) fn begin<B>(
        self: &Arc<Self>,
        request: &Request<B>,
        peer: IpAddr,
        info: &RequestInfo,
        settings: Option<&Settings>,
    ) -> Arc<Exchange> {
        let (logging, auditor) = match settings {
            Some(settings) => self.remember(settings),
            None => self.last(),
        };
        let record = RequestRecord::of(request, peer, info, logging.query_values);
        let trace = self.traces.request(&record, request);
        let (trail, format) = (Arc::clone(self), logging.format);
        Arc::new(Exchange::new(record, trail, format, auditor, trace))
    }

    fn remember(&self, settings: &Settings) -> (LoggingSettings, Option<Arc<Auditor>>) {
        let LoggingSettings {
            format,
            query_values,
        } = settings.logging;
        remember(&self.is_json, format == LogFormat::Json);
        remember(&self.masks_queries, query_values == QueryValues::Mask);
        let auditor = settings.auditor.clone();
        let known = self.auditor.load();
        let is_known = match (&*known, &auditor) {
            (Some(known), Some(auditor)) => Arc::ptr_eq(known, auditor),
            (None, None) => true,
            _ => false,
        };
        if !is_known {
            self.auditor.store(auditor.clone());
        }
        (settings.logging, auditor)
    }

    fn last(&self) -> (LoggingSettings, Option<Arc<Auditor>>) {
        let logging = LoggingSettings {
            format: if self.is_json.load(Ordering::Relaxed) {
                LogFormat::Json
            } else {
                LogFormat::Classic
            },
            query_values: if self.masks_queries.load(Ordering::Relaxed) {
                QueryValues::Mask
            } else {
                QueryValues::Keep
            },
        };
        (logging, self.auditor.load_full())
    }
}

/// Written only when it changes: every request of every thread reads it.
fn remember(known: &AtomicBool, value: bool) {
    if known.load(Ordering::Relaxed) != value {
        known.store(value, Ordering::Relaxed);
    }
}
