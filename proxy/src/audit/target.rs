//! A request's target as it is written: a query can say what nobody should read.

use std::borrow::Cow;

use oidcproxy_crds::v1alpha1::logging::QueryValues;
use percent_encoding::percent_decode_str;

/// Instead of a value. None of its characters has a meaning in a line.
const MASK: &str = "***";

/// Keys that hold one of these carry a credential, in whatever API stands behind kube-apiserver.
const SECRET: [&str; 6] = [
    "token",
    "bearer",
    "secret",
    "password",
    "authorization",
    "api_key",
];

/// The target with the values masked that are not to be written: all of them, or those that are
/// credentials by their key. Everything else stays byte for byte.
pub(super) fn shown(target: &str, values: QueryValues) -> Cow<'_, str> {
    let Some((path, query)) = target.split_once('?') else {
        return Cow::Borrowed(target);
    };
    let is_masked = |pair: &str| {
        let key = pair.split_once('=').map(|(key, _)| key);
        key.is_some_and(|key| values == QueryValues::Mask || is_secret(key))
    };
    // Go takes `;` for an error, others for a separator.
    if !query.split(['&', ';']).any(is_masked) {
        return Cow::Borrowed(target);
    }
    let mut shown = format!("{path}?");
    for piece in query.split_inclusive(['&', ';']) {
        let pair = piece.trim_end_matches(['&', ';']);
        match pair.split_once('=').filter(|_| is_masked(pair)) {
            Some((key, _)) => {
                shown.push_str(key);
                shown.push('=');
                shown.push_str(MASK);
                shown.push_str(piece.get(pair.len()..).unwrap_or_default());
            }
            None => shown.push_str(piece),
        }
    }
    Cow::Owned(shown)
}

fn is_secret(key: &str) -> bool {
    let key = percent_decode_str(key).decode_utf8_lossy().to_lowercase();
    let key = key.replace('-', "_");
    SECRET.iter().any(|word| key.contains(word)) || key == "apikey"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_never_shown() {
        for (target, expected) in [
            ("/api?access_token=a.b.c&x=1", "/api?access_token=***&x=1"),
            ("/api?x=1&Token=a=b", "/api?x=1&Token=***"),
            (
                "/api?id%5Ftoken=a;bearer=b",
                "/api?id%5Ftoken=***;bearer=***",
            ),
            ("/api?api-key=a&apikey=b", "/api?api-key=***&apikey=***"),
            ("/api?token", "/api?token"),
            ("/api?token=", "/api?token=***"),
            ("/api?tok%65n=a", "/api?tok%65n=***"),
        ] {
            assert_eq!(shown(target, QueryValues::Keep), expected);
        }
    }

    #[test]
    fn the_rest_is_byte_for_byte_or_masked() {
        for target in [
            "/api/v1/pods",
            "/api/v1/pods?",
            "/api?limit=500&continue=abc&&=;x",
            "/exec?command=sh&command=-c",
            "/%zz?%zz=%zz",
        ] {
            assert_eq!(shown(target, QueryValues::Keep), target);
        }
        for (target, expected) in [
            ("/api/v1/pods", "/api/v1/pods"),
            ("/pods?limit=500&watch", "/pods?limit=***&watch"),
            (
                "/exec?command=sh&&command=-c",
                "/exec?command=***&&command=***",
            ),
            ("/x?a=b?c=d", "/x?a=***"),
        ] {
            assert_eq!(shown(target, QueryValues::Mask), expected);
        }
    }
}
