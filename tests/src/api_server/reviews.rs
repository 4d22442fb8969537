//! Scripted answers to `SubjectAccessReview` and `TokenReview`.

use std::{sync::Mutex, time::Duration};

use serde_json::{Value, json};

use super::{Answer, Recorded};

/// How each `SubjectAccessReview` is answered.
#[derive(Clone, Debug, Default)]
pub enum ReviewMode {
    /// By the rights that were given.
    #[default]
    Rights,
    /// With this HTTP status.
    Status(u16),
    /// By the rights, later.
    Later(Duration),
    /// Never.
    Hang,
}

/// Rights, and the reviews that were asked.
#[derive(Default)]
pub struct Reviews {
    mode: Mutex<ReviewMode>,
    rights: Mutex<Vec<(String, Value)>>,
    asked: Mutex<Vec<Value>>,
    token_status: Mutex<Option<Value>>,
    tokens: Mutex<Vec<Value>>,
}

impl Reviews {
    /// `user` may do what matches: every member of `attributes` must be equal in the review's `resourceAttributes`.
    pub fn allow(&self, user: &str, attributes: Value) {
        self.rights
            .lock()
            .unwrap()
            .push((user.to_owned(), attributes));
    }

    /// `user` may impersonate this, as kube-apiserver asks for it.
    pub fn allow_impersonate(&self, user: &str, group: &str, resource: &str, name: &str) {
        let attributes =
            json!({"verb": "impersonate", "group": group, "resource": resource, "name": name});
        self.allow(user, attributes);
    }

    /// `user` may do whatever has this verb; one that ends with a colon stands for all that begin with it.
    pub fn allow_verb(&self, user: &str, verb: &str) {
        self.allow(user, json!({"verb": verb}));
    }

    /// Takes every right away.
    pub fn revoke_all(&self) {
        self.rights.lock().unwrap().clear();
    }

    /// How reviews are answered from now on.
    pub fn set_mode(&self, mode: ReviewMode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// The `spec` of every SubjectAccessReview so far.
    pub fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }

    /// The `status` of each `TokenReview` from now on; unauthenticated before.
    pub fn set_token_status(&self, status: Value) {
        *self.token_status.lock().unwrap() = Some(status);
    }

    /// The `spec` of every TokenReview so far.
    pub fn tokens(&self) -> Vec<Value> {
        self.tokens.lock().unwrap().clone()
    }

    pub(super) fn answer(&self, request: &Recorded) -> Option<Answer> {
        if !request.is_own() || request.method != "POST" {
            return None;
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let spec = body["spec"].clone();
        if request.target.contains("tokenreviews") {
            self.tokens.lock().unwrap().push(spec);
            let status = self.token_status.lock().unwrap().clone();
            let status = status.unwrap_or_else(|| json!({"authenticated": false}));
            return Some(created(&body, &status));
        }
        if !request.target.contains("/subjectaccessreviews") {
            return None;
        }
        let allowed = self.allows(&spec);
        self.asked.lock().unwrap().push(spec);
        let verdict = created(&body, &json!({"allowed": allowed}));
        let mode = self.mode.lock().unwrap().clone();
        Some(match mode {
            ReviewMode::Rights => verdict,
            ReviewMode::Later(time) => Answer::Later(time, Box::new(verdict)),
            ReviewMode::Hang => Answer::Hang,
            ReviewMode::Status(status) => Answer::Json(
                status,
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "scripted", "code": status}),
            ),
        })
    }

    fn allows(&self, spec: &Value) -> bool {
        let asked = match &spec["nonResourceAttributes"] {
            Value::Null => &spec["resourceAttributes"],
            path => path,
        };
        // An absent member means the empty string.
        let equal = |name: &str, want: &Value| {
            let given = asked[name].as_str().unwrap_or("");
            let prefix = want.as_str().filter(|want| want.ends_with(':'));
            given == want || prefix.is_some_and(|prefix| given.starts_with(prefix))
        };
        let rights = self.rights.lock().unwrap();
        rights.iter().any(|(user, attributes)| {
            let attributes = attributes.as_object().expect("attributes are an object");
            spec["user"] == **user && attributes.iter().all(|(name, want)| equal(name, want))
        })
    }
}

fn created(review: &Value, status: &Value) -> Answer {
    let mut answer = review.clone();
    answer["status"] = status.clone();
    Answer::Json(201, answer)
}
