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
use oidcproxy_crds::v1alpha1::logging::LogFormat;

use super::{AccessLog, Auditor, Exchange, RequestRecord};
use crate::{drain::Drain, request::RequestInfo, settings::Settings};

/// Where the records of requests go.
#[derive(Debug)]
pub(crate) struct Trail {
    pub(super) access_log: AccessLog,
    pub(super) drain: Drain,
    /// What the settings that were last in use say: there may be none right now.
    is_json: AtomicBool,
    auditor: ArcSwapOption<Auditor>,
}

impl Trail {
    pub(crate) fn new(access_log: AccessLog, drain: Drain) -> Arc<Self> {
        Arc::new(Self {
            access_log,
            drain,
            is_json: AtomicBool::new(false),
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
        let (format, auditor) = match settings {
            Some(settings) => self.remember(settings),
            None => self.last(),
        };
        let request = RequestRecord::of(request, peer, info);
        Arc::new(Exchange::new(request, Arc::clone(self), format, auditor))
    }

    fn remember(&self, settings: &Settings) -> (LogFormat, Option<Arc<Auditor>>) {
        let is_json = settings.log_format == LogFormat::Json;
        if self.is_json.load(Ordering::Relaxed) != is_json {
            self.is_json.store(is_json, Ordering::Relaxed);
        }
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
        (settings.log_format, auditor)
    }

    fn last(&self) -> (LogFormat, Option<Arc<Auditor>>) {
        let format = if self.is_json.load(Ordering::Relaxed) {
            LogFormat::Json
        } else {
            LogFormat::Classic
        };
        (format, self.auditor.load_full())
    }
}
