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

/// The body of an answer.
pub(crate) enum ResponseBody {
    /// kube-apiserver's, until something says that it must end.
    Upstream(Incoming, Pin<Box<dyn Future<Output = ()> + Send>>),
    /// Our own.
    Own(Full<Bytes>),
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Upstream(..) => "Upstream",
            Self::Own(_) => "Own",
        })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Upstream(body, ended) => match ended.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => Pin::new(body).poll_frame(context),
            },
            Self::Own(body) => Pin::new(body)
                .poll_frame(context)
                .map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Upstream(body, _) => body.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Upstream(body, _) => body.size_hint(),
            Self::Own(body) => body.size_hint(),
        }
    }
}

/// Marks an answer after which its HTTP/2 connection ends: strangers get no multiplexing, as in
/// kube-apiserver (`UnauthenticatedHTTP2DOSMitigation`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastOfConnection;
