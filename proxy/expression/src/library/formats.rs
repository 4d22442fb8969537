//! Named formats: what `format.NAME().validate(text)` finds wrong.

use super::{Implementation, times};
use crate::{
    error::Failure,
    eval::{Context, value::Value},
    url::Url,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Label { letter_first: bool, prefix: bool },
    Subdomain { prefix: bool },
    QualifiedName,
    LabelValue,
    Uri,
    Uuid,
    Byte,
    Date,
    Datetime,
}

const LABEL: usize = 63;
const SUBDOMAIN: usize = 253;

fn named(name: &str) -> Option<Format> {
    Some(match name {
        "dns1123Label" => Format::Label {
            letter_first: false,
            prefix: false,
        },
        "dns1123LabelPrefix" => Format::Label {
            letter_first: false,
            prefix: true,
        },
        "dns1035Label" => Format::Label {
            letter_first: true,
            prefix: false,
        },
        "dns1035LabelPrefix" => Format::Label {
            letter_first: true,
            prefix: true,
        },
        "dns1123Subdomain" => Format::Subdomain { prefix: false },
        "dns1123SubdomainPrefix" => Format::Subdomain { prefix: true },
        "qualifiedName" => Format::QualifiedName,
        "labelValue" => Format::LabelValue,
        "uri" => Format::Uri,
        "uuid" => Format::Uuid,
        "byte" => Format::Byte,
        "date" => Format::Date,
        "datetime" => Format::Datetime,
        _ => return None,
    })
}

impl Format {
    /// The length of the pattern that kube-apiserver's cost model assumes.
    pub(crate) fn pattern_size(self) -> u64 {
        match self {
            Self::Label { .. } => 30,
            Self::Subdomain { .. } | Self::QualifiedName => 60,
            Self::LabelValue => 40,
            Self::Uri => 1104,
            Self::Byte => 84,
            Self::Uuid | Self::Date | Self::Datetime => 72,
        }
    }

    /// Everything that is wrong, in words.
    fn problems(self, text: &str) -> Vec<&'static str> {
        let mut problems = Vec::new();
        let mut require = |fine: bool, problem: &'static str| {
            if !fine {
                problems.push(problem);
            }
        };
        match self {
            Self::Label {
                letter_first,
                prefix,
            } => {
                require(text.len() <= LABEL, "must be no more than 63 characters");
                let letter = text.starts_with(|first: char| first.is_ascii_lowercase());
                require(
                    is_label(&masked(text, prefix)) && (letter || !letter_first),
                    "is not a DNS label",
                );
            }
            Self::Subdomain { prefix } => {
                require(
                    text.len() <= SUBDOMAIN,
                    "must be no more than 253 characters",
                );
                require(
                    is_subdomain(&masked(text, prefix)),
                    "is not a DNS subdomain",
                );
            }
            Self::QualifiedName => {
                let (prefix, name) = text
                    .split_once('/')
                    .map_or((None, text), |(prefix, name)| (Some(prefix), name));
                if let Some(prefix) = prefix {
                    let fine = is_subdomain(prefix) && prefix.len() <= SUBDOMAIN;
                    require(fine, "the prefix part is not a DNS subdomain");
                }
                require(
                    name.len() <= LABEL,
                    "the name part must be no more than 63 characters",
                );
                require(
                    is_name(name),
                    "the name part has characters that it cannot have",
                );
            }
            Self::LabelValue => {
                require(text.len() <= LABEL, "must be no more than 63 characters");
                require(text.is_empty() || is_name(text), "is not a label value");
            }
            Self::Uri => require(Url::is_request_target(text), "is not a URI"),
            Self::Uuid => require(is_uuid(text), "does not match the UUID format"),
            Self::Byte => require(is_base64(text), "invalid base64"),
            Self::Date => require(is_date(text), "invalid date"),
            Self::Datetime => require(is_datetime(text), "invalid datetime"),
        }
        problems
    }
}

/// The prefix of a generated name may end with a hyphen.
fn masked(text: &str, prefix: bool) -> String {
    match text.strip_suffix('-') {
        Some(start) if prefix && !start.is_empty() => {
            format!("{}a", start.get(..start.len() - 1).unwrap_or(start))
        }
        _ => text.to_owned(),
    }
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.bytes().all(|byte| inner(byte) || byte == b'-')
        && text.bytes().next().is_some_and(inner)
        && text.bytes().next_back().is_some_and(inner)
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_name(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text
            .bytes()
            .next_back()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// With its four hyphens or without any.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    matches!(lengths.as_slice(), [8, 4, 4, 4, 12] | [32])
        && groups
            .iter()
            .all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    !digits.is_empty()
        && text.len().is_multiple_of(4)
        && padding <= 2
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

fn is_date(text: &str) -> bool {
    let mut rest = text;
    times::parse_date(&mut rest).is_some() && rest.is_empty()
}

fn is_datetime(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    times::parse_timestamp(&upper).is_some()
}

pub(super) fn find(name: &str) -> Option<Implementation> {
    Some(match name {
        "validate" => validate,
        "format.named" => |_, args| match args {
            [Value::String(name)] => {
                Ok(named(name).map_or(Value::NONE, |format| Value::some(Value::Format(format))))
            }
            _ => Err(Failure::no_overload("format.named")),
        },
        "format.dns1123Label" => |_, _| constant("dns1123Label"),
        "format.dns1123LabelPrefix" => |_, _| constant("dns1123LabelPrefix"),
        "format.dns1035Label" => |_, _| constant("dns1035Label"),
        "format.dns1035LabelPrefix" => |_, _| constant("dns1035LabelPrefix"),
        "format.dns1123Subdomain" => |_, _| constant("dns1123Subdomain"),
        "format.dns1123SubdomainPrefix" => |_, _| constant("dns1123SubdomainPrefix"),
        "format.qualifiedName" => |_, _| constant("qualifiedName"),
        "format.labelValue" => |_, _| constant("labelValue"),
        "format.uri" => |_, _| constant("uri"),
        "format.uuid" => |_, _| constant("uuid"),
        "format.byte" => |_, _| constant("byte"),
        "format.date" => |_, _| constant("date"),
        "format.datetime" => |_, _| constant("datetime"),
        _ => return None,
    })
}

fn constant(name: &'static str) -> Result<Value, Failure> {
    named(name)
        .map(Value::Format)
        .ok_or_else(|| Failure::no_overload(name))
}

fn validate(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Failure> {
    let [Value::Format(format), Value::String(text)] = args else {
        return Err(Failure::no_overload("validate"));
    };
    context.budget.bytes(text.len())?;
    let problems = format.problems(text);
    if problems.is_empty() {
        return Ok(Value::NONE);
    }
    Ok(Value::some(Value::native_list(
        problems.into_iter().map(Value::string).collect(),
    )))
}
