//! Where the records of requests go.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::Request;
use oidcproxy_crds::v1alpha1::logging::LogFormat;

use super::{AccessLog, Exchange, RequestRecord};
use crate::{drain::Drain, request::RequestInfo};

/// Where the records of requests go.
#[derive(Debug)]
pub(crate) struct Trail {
    pub(super) access_log: AccessLog,
    pub(super) drain: Drain,
    /// The format of the settings that were last in use: there may be none right now.
    is_json: AtomicBool,
}

impl Trail {
    pub(crate) fn new(access_log: AccessLog, drain: Drain) -> Arc<Self> {
        Arc::new(Self {
            access_log,
            drain,
            is_json: AtomicBool::new(false),
        })
    }

    /// The record of a request that has just come.
    pub(crate) fn begin<B>(
        self: &Arc<Self>,
        request: &Request<B>,
        peer: IpAddr,
        info: &RequestInfo,
        format: Option<LogFormat>,
    ) -> Arc<Exchange> {
        if let Some(format) = format {
            let is_json = format == LogFormat::Json;
            self.is_json.store(is_json, Ordering::Relaxed);
        }
        let format = if self.is_json.load(Ordering::Relaxed) {
            LogFormat::Json
        } else {
            LogFormat::Classic
        };
        let request = RequestRecord::of(request, peer, info);
        Arc::new(Exchange::new(request, Arc::clone(self), format))
    }
}
