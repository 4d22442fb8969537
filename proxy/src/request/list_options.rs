//! What the query of a list says: whether it watches, and whether it is of one object only.

use percent_encoding::percent_decode_str;

/// As far as it decides what a request is about.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct ListOptions {
    pub(super) watch: bool,
    /// The one name that a field selector leaves.
    pub(super) name: Option<String>,
}

impl ListOptions {
    /// A query with a value that kube-apiserver cannot read says nothing but whether it watches.
    pub(super) fn parse(query: &str) -> Self {
        let watch = Self::watches(query);
        let is_number = |key| first_value(query, key).is_none_or(|v| v.parse::<i64>().is_ok());
        let name = if is_number("limit") && is_number("timeoutSeconds") {
            first_value(query, "fieldSelector").and_then(|selector| selected_name(&selector))
        } else {
            None
        };
        Self { watch, name }
    }

    /// The first value counts, and all but `false` and `0` is true.
    pub(super) fn watches(query: &str) -> bool {
        first_value(query, "watch")
            .is_some_and(|value| !value.eq_ignore_ascii_case("false") && value != "0")
    }
}

/// Pairs with a semicolon or a broken escape are passed over, as Go does it.
fn first_value(query: &str, key: &str) -> Option<String> {
    query
        .split('&')
        .filter(|pair| !pair.contains(';'))
        .find_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            (name == key).then_some(value)
        })
}

fn decoded(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some((_, escape)) = rest.split_once('%') {
        let digits = escape.as_bytes().get(..2)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        rest = escape.get(2..)?;
    }
    let text = text.replace('+', " ");
    Some(percent_decode_str(&text).decode_utf8_lossy().into_owned())
}

/// The value that the selector's terms demand of `metadata.name`, if it can be part of a path.
fn selected_name(selector: &str) -> Option<String> {
    let mut found = None;
    for term in split_unescaped(selector, ',') {
        if term.is_empty() {
            continue;
        }
        let (field, is_equal, value) = split_term(term)?;
        let value = unescaped(value)?;
        if field == "metadata.name" && is_equal && found.is_none() {
            found = Some(value);
        }
    }
    found.filter(|name| !matches!(name.as_str(), "." | "..") && !name.contains(['/', '%']))
}

fn split_unescaped(text: &str, separator: char) -> Vec<&str> {
    let mut is_escaped = false;
    text.split(|character| {
        let splits = character == separator && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        splits
    })
    .collect()
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let mut is_escaped = false;
    for (at, character) in term.char_indices() {
        if is_escaped || character == '\\' {
            is_escaped = !is_escaped;
            continue;
        }
        let rest = term.get(at..)?;
        for (operator, is_equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Some((term.get(..at)?, is_equal, value));
            }
        }
    }
    None
}

fn unescaped(value: &str) -> Option<String> {
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push(characters.next().filter(|next| "\\,=".contains(*next))?),
            ',' | '=' => return None,
            _ => text.push(character),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read_as_kube_apiserver_reads_them() {
        for (selector, name) in [
            ("metadata.name=a", Some("a")),
            ("metadata.name==a,", Some("a")),
            ("x=y,metadata.name=a", Some("a")),
            (r"metadata.name=a\,b", Some("a,b")),
            ("metadata.name!=a", None),
            ("metadata.name=a=b", None),
            ("metadata.name=a,broken", None),
            ("metadata.name=..", None),
            ("metadata.name=a/b", None),
            (r"metadata.name=a\", None),
            ("", None),
        ] {
            assert_eq!(selected_name(selector).as_deref(), name, "{selector}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        let name = |query| ListOptions::parse(query).name;
        assert_eq!(
            name("fieldSelector=metadata.name%3Da"),
            Some("a".to_owned())
        );
        assert_eq!(name("fieldSelector=metadata.name%3Da&limit=x"), None);
        assert!(ListOptions::parse("watch=1&limit=x").watch);
    }
}
