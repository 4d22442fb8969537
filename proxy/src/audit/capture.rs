//! Bodies that an audit rule asks for, kept up to a bound while they pass.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use http::{HeaderMap, header};
use serde_json::Value;

/// Bytes of one body. kube-apiserver's own events are cut at 100 KiB where somebody cuts them.
const MAX_BODY: usize = 256 * 1024;
/// Of an answer that is kept for its `Status` only.
const MAX_STATUS: usize = 16 * 1024;
/// Bytes of all bodies together that are on their way into a log.
const MAX_TOTAL: usize = 32 * 1024 * 1024;

/// What all bodies together may take.
#[derive(Debug, Default)]
pub(crate) struct Budget(AtomicUsize);

/// A body, or why there is none.
#[derive(Debug)]
pub(crate) struct CapturedBody {
    bytes: Vec<u8>,
    limit: usize,
    omitted: Option<&'static str>,
    budget: Arc<Budget>,
}

/// A body that is still passing.
#[derive(Clone, Debug)]
pub(crate) struct Capture(Arc<Mutex<CapturedBody>>);

impl Capture {
    /// Of a body with these headers.
    pub(crate) fn of(headers: &HeaderMap, budget: &Arc<Budget>) -> Self {
        Self::new(headers, budget, MAX_BODY)
    }

    /// Of an answer that may be a `Status`.
    pub(crate) fn of_status(headers: &HeaderMap, budget: &Arc<Budget>) -> Self {
        Self::new(headers, budget, MAX_STATUS)
    }

    fn new(headers: &HeaderMap, budget: &Arc<Budget>, limit: usize) -> Self {
        let is_encoded = headers
            .get(header::CONTENT_ENCODING)
            .is_some_and(|encoding| encoding != "identity");
        Self(Arc::new(Mutex::new(CapturedBody {
            bytes: Vec::new(),
            limit,
            omitted: is_encoded.then_some("it is compressed"),
            budget: Arc::clone(budget),
        })))
    }

    pub(crate) fn add(&self, data: &[u8]) {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        body.add(data);
    }

    /// What has passed so far.
    pub(crate) fn take(&self) -> CapturedBody {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = CapturedBody {
            bytes: Vec::new(),
            limit: 0,
            omitted: Some("it is recorded already"),
            budget: Arc::clone(&body.budget),
        };
        std::mem::replace(&mut *body, empty)
    }
}

impl CapturedBody {
    fn add(&mut self, data: &[u8]) {
        if self.omitted.is_some() {
            return;
        }
        if self.bytes.len() + data.len() > self.limit {
            return self.omit("it is too large");
        }
        let before = self.budget.0.fetch_add(data.len(), Ordering::Relaxed);
        self.bytes.extend_from_slice(data);
        if before + data.len() > MAX_TOTAL {
            self.omit("too many bodies are waiting");
        }
    }

    fn omit(&mut self, reason: &'static str) {
        self.budget.0.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        self.bytes = Vec::new();
        self.omitted = Some(reason);
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The object, if there is a body; or why it is left out.
    pub(crate) fn object(&self, omit_managed_fields: bool) -> Option<Result<Value, &'static str>> {
        if let Some(reason) = self.omitted {
            return Some(Err(reason));
        }
        if self.bytes.is_empty() {
            return None;
        }
        let Ok(mut object) = serde_json::from_slice::<Value>(&self.bytes) else {
            return Some(Err("it is not JSON"));
        };
        if omit_managed_fields {
            remove_managed_fields(&mut object);
        }
        Some(Ok(object))
    }
}

impl Drop for CapturedBody {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// Of an object, or of a list's items and a table's rows.
fn remove_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    for list in ["items", "rows"] {
        let members = object.get_mut(list).and_then(Value::as_array_mut);
        for member in members.into_iter().flatten() {
            match member.get_mut("object") {
                Some(inner) => remove_managed_fields(inner),
                None => remove_managed_fields(member),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_kept_without_managed_fields() {
        let capture = Capture::of(&HeaderMap::new(), &Arc::default());
        let object = json!({"metadata": {"name": "a", "managedFields": [1]}, "items": [{"metadata": {"managedFields": [2]}}]});
        let text = object.to_string();
        let (start, end) = text.split_at(10);
        capture.add(start.as_bytes());
        capture.add(end.as_bytes());
        let body = capture.take();
        assert_eq!(body.object(false), Some(Ok(object)));
        let slim = json!({"metadata": {"name": "a"}, "items": [{"metadata": {}}]});
        assert_eq!(body.object(true), Some(Ok(slim)));
    }

    #[test]
    fn what_cannot_be_kept_is_said() {
        let reason = |headers: &HeaderMap, body: &[u8]| {
            let capture = Capture::of(headers, &Arc::default());
            capture.add(body);
            capture.take().object(false).map(Result::unwrap_err)
        };
        let plain = HeaderMap::new();
        assert_eq!(
            reason(&plain, &vec![b'1'; MAX_BODY + 1]),
            Some("it is too large")
        );
        assert_eq!(reason(&plain, b"k8s\0"), Some("it is not JSON"));
        assert_eq!(reason(&plain, b""), None);
        let mut encoded = HeaderMap::new();
        encoded.insert("content-encoding", HeaderValue::from_static("gzip"));
        assert_eq!(reason(&encoded, b"{}"), Some("it is compressed"));
    }

    #[test]
    fn all_bodies_together_have_a_bound_and_give_back() {
        let budget = Arc::<Budget>::default();
        let body = vec![b' '; MAX_BODY];
        let mut kept = Vec::new();
        for _ in 0..=MAX_TOTAL / MAX_BODY {
            let capture = Capture::of(&HeaderMap::new(), &budget);
            capture.add(&body);
            kept.push(capture.take());
        }
        let last = kept.last().and_then(|body| body.object(false));
        assert_eq!(last, Some(Err("too many bodies are waiting")));
        drop(kept);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
