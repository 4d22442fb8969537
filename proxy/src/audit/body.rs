//! Bodies on their way, counted.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{EndReason, Exchange, Flow, capture::Capture};
use crate::body::{BodyError, ResponseBody};

/// A request's body.
#[derive(Debug)]
pub(crate) struct RequestBody {
    body: Incoming,
    flow: Arc<Flow>,
    capture: Option<Capture>,
}

impl RequestBody {
    /// The request with its body counted.
    pub(crate) fn count(request: Request<Incoming>, exchange: &Exchange) -> Request<Self> {
        let flow = Arc::clone(exchange.flow());
        let capture = exchange.request_capture(request.headers());
        request.map(|body| Self {
            body,
            flow,
            capture,
        })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            this.flow.add_in(data.len());
            if let Some(capture) = &this.capture {
                capture.add(data);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body. It holds the record of its request until nobody needs it any more.
#[derive(Debug)]
pub(crate) struct RecordedBody {
    body: ResponseBody,
    /// None: nobody asked as a user, so nothing is recorded.
    exchange: Option<Arc<Exchange>>,
    capture: Option<Capture>,
    is_finished: bool,
}

impl RecordedBody {
    pub(crate) fn new(body: ResponseBody, exchange: Option<Arc<Exchange>>) -> Self {
        let capture = exchange.as_ref().and_then(|it| it.response_capture());
        Self {
            body,
            exchange,
            capture,
            is_finished: false,
        }
    }

    /// Leaves out what an answer of the proxy's own says, for a HEAD, and tells its length. hyper does so
    /// over HTTP/1.1 only, and over HTTP/2 such a body is an error.
    pub(crate) fn leave_out_own(&mut self) -> Option<u64> {
        let ResponseBody::Own(body) = &mut self.body else {
            return None;
        };
        std::mem::take(body).size_hint().exact()
    }

    /// Whether the answer is the proxy's own.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.body, ResponseBody::Own(_))
    }
}

impl Body for RecordedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        this.is_finished |= frame.is_none();
        if let Some(capture) = &this.capture
            && let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            capture.add(data);
        }
        if let Some(exchange) = &this.exchange {
            match &frame {
                Some(Ok(frame)) => {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    exchange.flow().add_out(bytes);
                }
                Some(Err(_)) => exchange.flow().end_with(EndReason::UpstreamBroke),
                None => {}
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RecordedBody {
    fn drop(&mut self) {
        // An answer of our own to a HEAD is dropped with its body unread.
        let is_whole = self.is_finished || self.is_own() || self.body.is_end_stream();
        if let Some(exchange) = &self.exchange
            && !is_whole
        {
            exchange.broke_off();
        }
    }
}
