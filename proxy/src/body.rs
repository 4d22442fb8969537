//! The body of an answer: kube-apiserver's, passed on frame by frame, or one of our own.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::{
    early_end::EarlyEnd,
    forward::{Place, strip_response},
};

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// kube-apiserver's.
    Upstream(UpstreamBody),
    /// Our own.
    Own(Full<Bytes>),
}

/// Why a body does not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// kube-apiserver broke off.
    #[error(transparent)]
    Upstream(#[from] hyper::Error),
    /// We do.
    #[error("the answer is cut")]
    Cut,
}

/// kube-apiserver's body, until something says that it must end.
pub(crate) struct UpstreamBody {
    body: Incoming,
    early_end: EarlyEnd,
    /// The wait for it. Most bodies are there at once and never need one.
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    is_cut: bool,
    /// At kube-apiserver; a stream keeps its own.
    _place: Option<Place>,
}

impl UpstreamBody {
    pub(crate) fn new(body: Incoming, early_end: EarlyEnd, place: Option<Place>) -> Self {
        Self {
            body,
            waiting: early_end.is_likely().then(|| early_end.wait()),
            early_end,
            is_cut: false,
            _place: place,
        }
    }

    /// Whether it must end now. Asked before the body is, once there is a wait: a body that always
    /// has something to say ends, too.
    fn must_end(&mut self, context: &mut Context<'_>) -> bool {
        self.is_cut = self.is_cut
            || self
                .waiting
                .as_mut()
                .is_some_and(|waiting| waiting.as_mut().poll(context).is_ready());
        self.is_cut
    }

    /// A watch or a log is whole wherever it ends. Anything else must not look so: a list that is
    /// cut would be taken for all there is, so the client sees a transfer that breaks.
    fn cut(&self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(if self.early_end.is_proper() {
            None
        } else {
            Some(Err(BodyError::Cut))
        })
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.must_end(context) {
            return self.cut();
        }
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_pending() && self.waiting.is_none() {
            self.waiting = Some(self.early_end.wait());
            if self.must_end(context) {
                return self.cut();
            }
        }
        frame.map_ok(without_hop_by_hop).map_err(BodyError::from)
    }
}

/// Trailers may say no more than a head: HTTP/2 clients would take the answer for malformed.
fn without_hop_by_hop(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        strip_response(trailers);
    }
    frame
}

impl std::fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamBody")
            .field("is_cut", &self.is_cut)
            .finish_non_exhaustive()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Upstream(body) => body.poll(context),
            Self::Own(body) => Pin::new(body)
                .poll_frame(context)
                .map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Upstream(body) => body.body.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Upstream(body) => body.body.size_hint(),
            Self::Own(body) => body.size_hint(),
        }
    }
}

/// Marks kube-apiserver's answer to somebody without a credential.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForStranger;
