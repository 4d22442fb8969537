//! A request to send.

use std::convert::Infallible;

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

use crate::server::{Body, full};

/// A request to send.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

impl Call {
    /// A `GET`.
    pub fn get(target: &str) -> Self {
        Self::new(Method::GET, target)
    }

    /// Any method, no body.
    pub fn new(method: Method, target: &str) -> Self {
        Self {
            method,
            target: target.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            trailers: None,
        }
    }

    /// Adds a header line.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        let value = HeaderValue::from_bytes(value.as_ref()).expect("a header value");
        self.headers.append(name, value);
        self
    }

    /// Another target.
    #[must_use]
    pub fn target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    /// Adds a bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Adds a trailer after the body; over HTTP/1.1 it must be announced too.
    #[must_use]
    pub fn trailer(mut self, name: &'static str, value: &'static str) -> Self {
        let value = HeaderValue::from_static(value);
        self.trailers
            .get_or_insert_default()
            .append(HeaderName::from_static(name), value);
        self
    }

    fn into_body(self) -> Body {
        let Some(trailers) = self.trailers else {
            return full(self.body);
        };
        let frames = [Frame::data(self.body), Frame::trailers(trailers)];
        let frames = frames.into_iter().map(Ok::<_, Infallible>);
        StreamBody::new(futures::stream::iter(frames)).boxed_unsync()
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

pub(super) fn h1_request(authority: &str, call: Call) -> Result<Request<Body>> {
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(&call.target);
    if !call.headers.contains_key("host") {
        request = request.header("host", authority);
    }
    if let Some(headers) = request.headers_mut() {
        headers.extend(call.headers.clone());
    }
    Ok(request.body(call.into_body())?)
}

pub(super) fn h2_request(authority: &str, call: Call) -> Result<Request<Body>> {
    let uri = format!("https://{authority}{}", call.target);
    let mut request = Request::builder().method(call.method.clone()).uri(uri);
    if let Some(headers) = request.headers_mut() {
        headers.extend(call.headers.clone());
    }
    Ok(request.body(call.into_body())?)
}
