//! Names by RFC 1123, as Kubernetes checks those of its objects.

/// A label, as namespaces are called: 63 characters at most.
pub fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_label_of_any_length(text)
}

/// Labels with dots between them, as most objects are called: 253 characters at most. Kubernetes
/// bounds the whole only, not each label.
pub fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label_of_any_length)
}

fn is_label_of_any_length(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "a".repeat(64);
        for (text, label, subdomain) in [
            ("a", true, true),
            ("a-0", true, true),
            ("a.b-c.0", false, true),
            (&*long, false, true),
            ("", false, false),
            ("a..b", false, false),
            (".a", false, false),
            ("-a", false, false),
            ("a-", false, false),
            ("a_b", false, false),
            ("A", false, false),
            ("ä", false, false),
            (&*"a".repeat(254), false, false),
        ] {
            assert_eq!(
                (is_label(text), is_subdomain(text)),
                (label, subdomain),
                "{text}"
            );
        }
    }
}
