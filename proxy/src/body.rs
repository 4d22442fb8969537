//! The body of an answer: kube-apiserver's, passed on frame by frame, or one of our own.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio_util::sync::WaitForCancellationFutureOwned;

/// The body of an answer; no box, so that nothing is allocated for it.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// kube-apiserver's.
    Upstream(Incoming),
    /// kube-apiserver's, for as long as the issuer of the request's token is accepted.
    Watched(Incoming, Pin<Box<WaitForCancellationFutureOwned>>),
    /// Our own.
    Own(Full<Bytes>),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Upstream(body) => Pin::new(body).poll_frame(context),
            Self::Watched(body, ended) => match ended.as_mut().poll(context) {
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
            Self::Upstream(body) | Self::Watched(body, _) => body.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Upstream(body) | Self::Watched(body, _) => body.size_hint(),
            Self::Own(body) => body.size_hint(),
        }
    }
}
