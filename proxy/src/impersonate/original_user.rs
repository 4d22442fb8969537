//! Who really asked, when a request runs as somebody else: extras under the names that
//! kube-oidc-proxy has given them, since SIEM rules look for those.

use serde_json::{Map, Value};

use super::client_request::ORIGINAL_USER_PREFIX;
use crate::identity::Identity;

/// Adds the requester to the identity that the request runs as.
pub(crate) fn add(target: &mut Identity, requester: &Identity) {
    let mut add = |suffix: &str, values: Vec<String>| {
        target
            .extra
            .push((format!("{ORIGINAL_USER_PREFIX}{suffix}"), values));
    };
    add("user", vec![requester.username.clone()]);
    if !requester.groups.is_empty() {
        add("groups", requester.groups.clone());
    }
    if let Some(uid) = &requester.uid {
        add("uid", vec![uid.clone()]);
    }
    if !requester.extra.is_empty() {
        let extra: Map<String, Value> = requester
            .extra
            .iter()
            .map(|(key, values)| (key.clone(), values.clone().into()))
            .collect();
        add("extra", vec![Value::Object(extra).to_string()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_requester_travels() {
        let requester = Identity {
            username: "alice".into(),
            uid: Some("7".into()),
            groups: vec!["dev".into()],
            extra: vec![("k".into(), vec!["v".into()])],
        };
        let mut target = Identity::default();
        add(&mut target, &requester);
        let expected = [
            ("originaluser.jetstack.io-user", "alice"),
            ("originaluser.jetstack.io-groups", "dev"),
            ("originaluser.jetstack.io-uid", "7"),
            ("originaluser.jetstack.io-extra", r#"{"k":["v"]}"#),
        ];
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(key, value)| (key.to_owned(), vec![value.to_owned()]))
            .collect();
        assert_eq!(target.extra, expected);
    }
}
