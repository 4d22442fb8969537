//! CEL over claims and users: an expression, and in the lines after `---` the claims.

use std::collections::BTreeMap;

use oidcproxy_expression::{Environment, Program, User};
use serde_json::{Map, Value, json};

pub(crate) fn run(input: &str) {
    let (source, claims) = input.split_once("\n---\n").unwrap_or((input, ""));
    if let Ok(program) = Program::compile(source, Environment::Claims) {
        let claims = match serde_json::from_str(claims) {
            Ok(Value::Object(claims)) => claims,
            _ => default_claims(),
        };
        let first = program.evaluate_claims(&claims);
        let again = program.evaluate_claims(&claims);
        assert_eq!(
            first.map_err(|error| error.to_string()),
            again.map_err(|error| error.to_string()),
            "the same claims have the same value"
        );
    }
    if let Ok(program) = Program::compile(source, Environment::User) {
        let groups = ["dev".to_owned(), "ops".to_owned()];
        let extra = BTreeMap::from([("example.com/key".to_owned(), vec!["value".to_owned()])]);
        let user = User {
            username: "corp:alice",
            uid: "1",
            groups: &groups,
            extra: &extra,
        };
        drop(program.evaluate_user(&user));
    }
}

fn default_claims() -> Map<String, Value> {
    let claims = json!({
        "sub": "alice", "groups": ["dev", "ops"], "n": 7, "f": 1.5, "b": true, "nothing": null,
        "email": "alice@example.com", "nested": {"a": {"b": ["c", 1]}}, "ip": "192.0.2.1",
        "url": "https://example.com/a?b=c", "time": "2026-01-02T03:04:05Z", "version": "1.2.3",
    });
    claims.as_object().cloned().unwrap_or_default()
}
