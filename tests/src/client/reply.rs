//! Responses, whole and piece by piece.

use anyhow::Result;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

use super::{Connection, in_time};

/// A complete response.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// The body as JSON; anything else ends the test.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Checks that this is a refusal as clients expect it: a `Status` with this code, and a message.
    #[track_caller]
    pub fn assert_refusal(&self, code: u16) {
        assert_eq!(self.status, code, "{self:?}");
        assert_status_object(&self.json(), code);
    }

    /// Checks that the status is `code`.
    #[track_caller]
    pub fn assert_status(&self, code: u16) {
        assert_eq!(self.status, code, "{self:?}");
    }

    /// One header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Checks the shape of a `Status` object.
#[track_caller]
pub fn assert_status_object(status: &Value, code: u16) {
    let reason = status["reason"].as_str().unwrap_or("");
    let message = status["message"].as_str().unwrap_or("");
    let expected = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    assert_eq!(status, &expected);
    let reason_of_code = match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        _ => reason,
    };
    assert_eq!(reason, reason_of_code);
    assert!(!message.is_empty(), "a refusal has a message: {status}");
    if code == 401 {
        assert_eq!(message, "Unauthorized");
    }
}

/// A response whose body is read piece by piece.
pub struct Streaming {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    body: Incoming,
    /// Kept open for as long as the body is read.
    _connection: Option<Connection>,
}

impl Streaming {
    pub(super) fn new(response: http::Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
            _connection: None,
        }
    }

    /// With a connection of its own, which stays open as long.
    pub(super) fn over(self, connection: Connection) -> Self {
        Self {
            _connection: Some(connection),
            ..self
        }
    }

    /// The next piece; `None` at the proper end; an error when the body is cut short.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            match in_time("no piece of the body", self.body.frame()).await {
                None => return Ok(None),
                Some(frame) => {
                    // HTTP/2 may end a stream with a frame without data.
                    let data = frame?.into_data().unwrap_or_default();
                    if !data.is_empty() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Stops without reading on: closes a connection of its own, resets a stream of a shared one.
    pub fn abort(self) {
        drop(self);
    }
}

pub(super) async fn read(response: http::Response<Incoming>) -> Result<Reply> {
    let (parts, body) = response.into_parts();
    let body = in_time("no end of the body", body.collect()).await;
    Ok(Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: body?.to_bytes(),
    })
}
