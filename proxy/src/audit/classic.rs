//! The Classic line: kube-oidc-proxy's format, which SIEM rules know. Values are escaped, so that
//! nothing a client or an issuer sends can forge a line or a field.

use std::fmt::Write as _;

use super::access::AccessLine;
use crate::identity::Identity;

/// Characters of one value; what a client sends must not decide how long a line is.
const MAX_VALUE: usize = 4096;

/// One line, with its end.
pub(super) fn line(access: &AccessLine) -> String {
    let mut line = String::with_capacity(256);
    let word = if access.is_admitted {
        "AuSuccess"
    } else {
        "AuFail"
    };
    let request = &access.request;
    let time = access.at.strftime("%Y-%m-%dT%H:%M:%S+0000");
    // Writing to a String cannot fail.
    let _ = write!(line, "[{time}] {word} src:[{} / ", request.peer);
    escape(&mut line, &request.forwarded_for);
    line.push_str("] URI:");
    escape_target(&mut line, &request.shown_target());
    if access.is_admitted {
        identities(
            &mut line,
            access.inbound.as_deref(),
            access.outbound.as_deref(),
        );
    }
    line.push('\n');
    line
}

fn identities(line: &mut String, inbound: Option<&Identity>, outbound: Option<&Identity>) {
    if let Some(inbound) = inbound {
        line.push_str(" inbound:[");
        escape(line, &inbound.username);
        line.push_str(" / ");
        groups(line, inbound);
        line.push_str(" / ");
        extras(line, inbound);
        line.push(']');
    }
    if let Some(outbound) = outbound {
        line.push_str(" outbound:[");
        escape(line, &outbound.username);
        line.push_str(" / ");
        groups(line, outbound);
        line.push_str(" / ");
        escape(line, outbound.uid.as_deref().unwrap_or_default());
        line.push_str(" / ");
        extras(line, outbound);
        line.push(']');
    }
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
pub(super) fn bounded(value: &str) -> (&str, bool) {
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
pub(super) fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
pub(super) mod tests {
    use std::{net::Ipv4Addr, sync::Arc};

    use http::Request;
    use oidcproxy_crds::v1alpha1::logging::QueryValues;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        audit::{RequestRecord, access::AccessEvent},
        request::RequestInfo,
    };

    /// Of a refused request.
    pub(in crate::audit) fn access_line() -> AccessLine {
        let request = Request::get("/api/v1/pods?limit=500")
            .header("x-forwarded-for", "203.0.113.9")
            .header("user-agent", "kubectl/v1.36.3")
            .body(())
            .unwrap();
        let peer = Ipv4Addr::new(10, 1, 2, 3).into();
        let request = RequestRecord::of(
            &request,
            peer,
            &RequestInfo::of(&request),
            QueryValues::Keep,
        );
        AccessLine {
            at: "2021-11-25T01:05:17Z".parse().unwrap(),
            request: Arc::new(request),
            inbound: None,
            outbound: None,
            is_admitted: false,
            event: AccessEvent::Decided,
        }
    }

    pub(in crate::audit) fn jane() -> Identity {
        Identity {
            username: "jane".into(),
            uid: None,
            groups: vec!["dev".into(), "system:authenticated".into()],
            extra: vec![("k".into(), vec!["v".into(), "w".into()])],
        }
    }

    fn success(inbound: Identity, outbound: Option<Identity>) -> AccessLine {
        AccessLine {
            inbound: Some(Arc::new(inbound)),
            outbound: outbound.map(Arc::new),
            is_admitted: true,
            ..access_line()
        }
    }

    #[test]
    fn lines_are_those_of_kube_oidc_proxy() {
        assert_eq!(
            success(jane(), None).text(),
            "[2021-11-25T01:05:17+0000] AuSuccess src:[10.1.2.3 / 203.0.113.9] URI:/api/v1/pods?limit=500 inbound:[jane / dev|system:authenticated / k=v|w ]\n"
        );
        let bob = Identity {
            username: "bob".into(),
            uid: Some("7".into()),
            groups: vec!["ops".into()],
            extra: Vec::new(),
        };
        let acting = success(jane(), Some(bob)).text();
        assert!(acting.ends_with(" outbound:[bob / ops / 7 / ]\n"));
        let refused = AccessLine {
            inbound: Some(Arc::new(jane())),
            ..access_line()
        };
        assert_eq!(
            refused.text(),
            "[2021-11-25T01:05:17+0000] AuFail src:[10.1.2.3 / 203.0.113.9] URI:/api/v1/pods?limit=500\n"
        );
    }

    #[test]
    fn values_cannot_leave_their_place() {
        let mut jane = jane();
        jane.username = "a]\n[x] AuSuccess src:[ / b|c\\".into();
        let text = success(jane, None).text();
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
        let text = success(jane, None).text();
        let expected =
            r"inbound:[cluster-admin \/ / g \/|\/ h|\/ / a\u{3d}b=x\u{20}originaluser=admin ]";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn a_client_does_not_decide_how_long_a_line_is() {
        let mut line = access_line();
        let mut request = (*line.request).clone();
        request.forwarded_for = "\t".repeat(1_000_000);
        line.request = Arc::new(request);
        let text = line.text();
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
            let mut line = success(jane.clone(), Some(jane.clone()));
            let mut request = (*line.request).clone();
            request.forwarded_for.clone_from(&forwarded);
            request.target = target;
            line.request = Arc::new(request);
            let text = line.text();
            prop_assert_eq!(text.lines().count(), 1);
            prop_assert!(text.chars().filter(|character| character.is_control()).eq(['\n']));
            prop_assert_eq!(text.matches(" outbound:[").count(), 1 + jane.username.matches(" outbound:[").count() * 2
                + jane.groups.iter().map(|group| group.matches(" outbound:[").count()).sum::<usize>() * 2
                + forwarded.matches(" outbound:[").count());
        }
    }
}
