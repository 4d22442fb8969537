//! Whether what the proxy did is what the vector asks for.

use std::fmt;

use crate::{
    play::Fill,
    vector::{Expect, User, Vector},
};

/// What the proxy did.
pub(crate) enum Outcome {
    /// It did not start, and said why.
    ConfigurationRefused(String),
    /// It started; no token was presented.
    ConfigurationTaken,
    /// The token was refused with this status.
    Refused(u16),
    /// The request arrived as this user.
    User(User),
    /// Something that no vector asks for.
    Odd(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConfigurationRefused(why) => write!(formatter, "no start: {why}"),
            Self::ConfigurationTaken => formatter.write_str("a start"),
            Self::Refused(status) => status.fmt(formatter),
            Self::User(user) => write!(formatter, "{user:?}"),
            Self::Odd(what) => formatter.write_str(what),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Verdict {
    Same,
    /// Otherwise than kube-apiserver, as the format allows; the documentation says why.
    Different,
    Failed(String),
}

/// Names that belong to Kubernetes are refused here with 403, which kube-apiserver does not do.
const RESERVED: [&str; 2] = ["system:", "kubeadm:"];

fn is_reserved(user: &User) -> bool {
    let names = user.groups.iter().chain([&user.username]);
    names
        .into_iter()
        .any(|name| RESERVED.iter().any(|prefix| name.starts_with(prefix)))
}

pub(crate) fn judge(vector: &Vector, outcome: &Outcome, fill: &Fill) -> Verdict {
    let upstream = vector.expect.as_ref().unwrap();
    let expected = vector.expect_proxy.as_ref().unwrap_or(upstream);
    let tolerated = tolerated(vector, outcome);
    let same = matches(expected, outcome, fill);
    match (same, tolerated) {
        (true, _) if vector.expect_proxy.is_none() => Verdict::Same,
        (true, _) | (false, true) => Verdict::Different,
        (false, false) => Verdict::Failed(format!("expected {expected:?}, saw {outcome}")),
    }
}

fn tolerated(vector: &Vector, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Refused(403) => {
            let expected = vector
                .expect
                .as_ref()
                .and_then(|expect| expect.user.as_ref());
            expected.is_some_and(is_reserved)
        }
        Outcome::Refused(401) | Outcome::ConfigurationRefused(_) => vector.strict_ok,
        Outcome::User(_) | Outcome::ConfigurationTaken => vector.lenient_ok,
        _ => false,
    }
}

pub(crate) fn matches(expected: &Expect, outcome: &Outcome, fill: &Fill) -> bool {
    match outcome {
        Outcome::ConfigurationRefused(_) => expected.config.as_deref() == Some("error"),
        Outcome::ConfigurationTaken => expected.config.as_deref() == Some("ok"),
        Outcome::Refused(status) => expected.error && *status == 401,
        Outcome::User(user) => {
            expected.user.as_ref().map(|wanted| filled(wanted, fill)) == Some(user.clone())
        }
        Outcome::Odd(_) => false,
    }
}

fn filled(user: &User, fill: &Fill) -> User {
    let all = |values: &[String]| values.iter().map(|value| fill.text(value)).collect();
    User {
        username: fill.text(&user.username),
        uid: fill.text(&user.uid),
        groups: all(&user.groups),
        extra: user
            .extra
            .iter()
            .map(|(key, values)| (key.clone(), all(values)))
            .collect(),
    }
}
