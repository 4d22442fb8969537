//! The Classic line: kube-oidc-proxy's format, which SIEM rules know. Values are escaped, so that
//! nothing a client or an issuer sends can forge a line or a field.

use std::{fmt::Write as _, net::IpAddr};

use k8s_openapi::jiff::Timestamp;

use crate::identity::Identity;

/// Characters of one value; what a client sends must not decide how long a line is.
const MAX_VALUE: usize = 4096;

/// Where a request came from.
#[derive(Clone, Debug)]
pub(crate) struct RequestSource {
    pub(crate) peer: IpAddr,
    /// `X-Forwarded-For` as the client sent it: a claim, not a fact.
    pub(crate) forwarded_for: String,
    /// The request target as the client sent it.
    pub(crate) target: String,
}

/// What was decided.
pub(crate) enum Decision<'a> {
    /// Forwarded as the user, or as somebody else on the user's behalf.
    Success {
        inbound: &'a Identity,
        outbound: Option<&'a Identity>,
    },
    /// Not forwarded.
    Failure,
}

/// One line, with its end.
pub(crate) fn line(now: Timestamp, source: &RequestSource, decision: &Decision<'_>) -> String {
    let mut line = String::with_capacity(256);
    let word = match decision {
        Decision::Success { .. } => "AuSuccess",
        Decision::Failure => "AuFail",
    };
    let time = now.strftime("%Y-%m-%dT%H:%M:%S+0000");
    // Writing to a String cannot fail.
    let _ = write!(line, "[{time}] {word} src:[{} / ", source.peer);
    escape(&mut line, &source.forwarded_for);
    line.push_str("] URI:");
    escape_target(&mut line, &source.target);
    if let Decision::Success { inbound, outbound } = decision {
        line.push_str(" inbound:[");
        escape(&mut line, &inbound.username);
        line.push_str(" / ");
        groups(&mut line, inbound);
        line.push_str(" / ");
        extras(&mut line, inbound);
        line.push(']');
        if let Some(outbound) = outbound {
            line.push_str(" outbound:[");
            escape(&mut line, &outbound.username);
            line.push_str(" / ");
            groups(&mut line, outbound);
            line.push_str(" / ");
            escape(&mut line, outbound.uid.as_deref().unwrap_or_default());
            line.push_str(" / ");
            extras(&mut line, outbound);
            line.push(']');
        }
    }
    line.push('\n');
    line
}

fn groups(line: &mut String, identity: &Identity) {
    joined(line, &identity.groups, escape);
}

fn extras(line: &mut String, identity: &Identity) {
    for (key, values) in &identity.extra {
        escape_extra(line, key, true);
        line.push('=');
        joined(line, values, |line, value| escape_extra(line, value, false));
        line.push(' ');
    }
}

fn joined(line: &mut String, values: &[String], escape: impl Fn(&mut String, &str)) {
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            line.push('|');
        }
        escape(line, value);
    }
}

/// `\`, `|`, `]`, controls and ` / `: whatever has a meaning in a line. An edge counts as a blank,
/// since the line has one there.
fn escape(line: &mut String, value: &str) {
    let (value, is_whole) = bounded(value);
    let is_blank = |character: Option<char>| character.is_none_or(|character| character == ' ');
    let mut previous = None;
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' | '|' | ']' => {
                line.push('\\');
                line.push(character);
            }
            '/' if is_blank(previous) && is_blank(characters.peek().copied()) => {
                line.push_str("\\/");
            }
            _ => push(line, character, is_unprintable(character)),
        }
        previous = Some(character);
    }
    mark_cut(line, is_whole);
}

/// In extras a blank ends a value, and `=` a key.
fn escape_extra(line: &mut String, value: &str, is_key: bool) {
    let mut escaped = String::new();
    escape(&mut escaped, value);
    for character in escaped.chars() {
        push(
            line,
            character,
            character == ' ' || (is_key && character == '='),
        );
    }
}

/// A target ends at the first blank, so it needs no more than to have none.
fn escape_target(line: &mut String, target: &str) {
    let (target, is_whole) = bounded(target);
    for character in target.chars() {
        let escaped = is_unprintable(character) || character == ' ' || character == '\\';
        push(line, character, escaped);
    }
    mark_cut(line, is_whole);
}

fn push(line: &mut String, character: char, escaped: bool) {
    if escaped {
        // Writing to a String cannot fail.
        let _ = write!(line, "\\u{{{:x}}}", u32::from(character));
    } else {
        line.push(character);
    }
}

/// As much of a value as a line holds, and whether that is all of it.
fn bounded(value: &str) -> (&str, bool) {
    match value.char_indices().nth(MAX_VALUE) {
        None => (value, true),
        Some((end, _)) => (value.get(..end).unwrap_or_default(), false),
    }
}

fn mark_cut(line: &mut String, is_whole: bool) {
    if !is_whole {
        line.push_str("\\...");
    }
}

/// Controls, and what terminals and log readers take for the end of a line or turn around.
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn source() -> RequestSource {
        RequestSource {
            peer: Ipv4Addr::new(10, 1, 2, 3).into(),
            forwarded_for: "203.0.113.9".into(),
            target: "/api/v1/pods?limit=500".into(),
        }
    }

    fn jane() -> Identity {
        Identity {
            username: "jane".into(),
            uid: None,
            groups: vec!["dev".into(), "system:authenticated".into()],
            extra: vec![("k".into(), vec!["v".into(), "w".into()])],
        }
    }

    fn time() -> Timestamp {
        "2021-11-25T01:05:17Z".parse().unwrap()
    }

    #[test]
    fn lines_are_those_of_kube_oidc_proxy() {
        let jane = jane();
        let success = Decision::Success {
            inbound: &jane,
            outbound: None,
        };
        assert_eq!(
            line(time(), &source(), &success),
            "[2021-11-25T01:05:17+0000] AuSuccess src:[10.1.2.3 / 203.0.113.9] URI:/api/v1/pods?limit=500 inbound:[jane / dev|system:authenticated / k=v|w ]\n"
        );
        let bob = Identity {
            username: "bob".into(),
            uid: Some("7".into()),
            groups: vec!["ops".into()],
            extra: Vec::new(),
        };
        let acting = Decision::Success {
            inbound: &jane,
            outbound: Some(&bob),
        };
        assert!(line(time(), &source(), &acting).ends_with(" outbound:[bob / ops / 7 / ]\n"));
        assert_eq!(
            line(time(), &source(), &Decision::Failure),
            "[2021-11-25T01:05:17+0000] AuFail src:[10.1.2.3 / 203.0.113.9] URI:/api/v1/pods?limit=500\n"
        );
    }

    #[test]
    fn values_cannot_leave_their_place() {
        let mut jane = jane();
        jane.username = "a]\n[x] AuSuccess src:[ / b|c\\".into();
        let decision = Decision::Success {
            inbound: &jane,
            outbound: None,
        };
        let text = line(time(), &source(), &decision);
        assert!(
            text.contains(r"inbound:[a\]\u{a}[x\] AuSuccess src:[ \/ b\|c\\ / dev|"),
            "{text}"
        );
    }

    #[test]
    fn edges_and_extras_cannot_shift_fields() {
        let mut jane = jane();
        jane.username = "cluster-admin /".into();
        jane.groups = vec!["g /".into(), "/ h".into(), "/".into()];
        jane.extra = vec![("a=b".into(), vec!["x originaluser=admin".into()])];
        let decision = Decision::Success {
            inbound: &jane,
            outbound: None,
        };
        let text = line(time(), &source(), &decision);
        let expected =
            r"inbound:[cluster-admin \/ / g \/|\/ h|\/ / a\u{3d}b=x\u{20}originaluser=admin ]";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn a_client_does_not_decide_how_long_a_line_is() {
        let mut source = source();
        source.forwarded_for = "\t".repeat(1_000_000);
        let text = line(time(), &source, &Decision::Failure);
        assert!(
            text.len() < 30_000 && text.contains("\\..."),
            "{}",
            text.len()
        );
    }

    proptest! {
        #[test]
        fn one_request_is_one_line(user in ".*", group in ".*", forwarded in ".*", target in ".*") {
            let mut jane = jane();
            jane.username = user;
            jane.groups.push(group);
            let mut source = source();
            source.forwarded_for = forwarded;
            source.target = target;
            let decision = Decision::Success { inbound: &jane, outbound: Some(&jane) };
            let text = line(time(), &source, &decision);
            prop_assert_eq!(text.lines().count(), 1);
            prop_assert!(text.chars().filter(|character| character.is_control()).eq(['\n']));
            prop_assert_eq!(text.matches(" outbound:[").count(), 1 + jane.username.matches(" outbound:[").count() * 2
                + jane.groups.iter().map(|group| group.matches(" outbound:[").count()).sum::<usize>() * 2
                + source.forwarded_for.matches(" outbound:[").count());
        }
    }
}
