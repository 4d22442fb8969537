//! From the text of the file to a document, as kube-apiserver reads it: a text that begins with a brace is JSON and nothing
//! else, any other one is YAML, of which the first document counts.

use std::fmt::Display;

use serde_json::Value;

use super::AuthenticationConfigError;
use crate::{authn::strict_json, first_line::first_line};

pub(super) fn read(text: &str) -> Result<Value, AuthenticationConfigError> {
    let wrong = |error: &dyn Display| AuthenticationConfigError::Decode(first_line(&error));
    if text.trim_start().starts_with('{') {
        return strict_json::object(text.as_bytes())
            .map(Value::Object)
            .map_err(|error| wrong(&error));
    }
    // No content, but before a brace it makes the text YAML, as there.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_saphyr::from_str(first_document(text)).map_err(|error| wrong(&error))
}

/// Up to the marker that ends the first document. No such line can be a part of a scalar.
fn first_document(text: &str) -> &str {
    let mut begun = false;
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        let is_marker = |marker: &str| {
            line.strip_prefix(marker)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
        };
        if begun && (is_marker("---") || is_marker("...")) {
            break;
        }
        let content = line.trim_start();
        begun |= !(content.is_empty() || content.starts_with('#') || line.starts_with('%'));
        end += line.len();
    }
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_no_content() {
        let read = read("\u{feff}# note\n---\na: 1\n").unwrap();
        assert_eq!(read, serde_json::json!({"a": 1}));
    }

    #[test]
    fn the_first_document_counts() {
        for (text, first) in [
            ("a: 1\n", "a: 1\n"),
            ("a: 1\n---\nb: [\n", "a: 1\n"),
            ("# note\n---\na: 1\n...\nb: 2\n", "# note\n---\na: 1\n"),
            ("%YAML 1.1\n---\na: 1\n--- b", "%YAML 1.1\n---\na: 1\n"),
            ("a: '---'\n ---\n", "a: '---'\n ---\n"),
        ] {
            assert_eq!(first_document(text), first, "{text}");
        }
    }

    #[test]
    fn a_brace_begins_json() {
        assert!(read("{\"a\": 1}\n").is_ok());
        for text in ["{a: 1}", "{\"a\": 1,}", "{\"a\": 1, \"a\": 1}", "{} {}"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
