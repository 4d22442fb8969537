//! The variables: `claims` from a token's payload, `user` from the mapped identity. Nothing is converted before it is
//! looked at, and then once per evaluation.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde_json::{Map as JsonMap, Value as Json};

use super::{
    budget::Budget,
    value::{Map, Origin, Value},
};
use crate::{User, error::Failure};

/// The data behind [`Value::Root`].
#[derive(Debug)]
pub(crate) enum Root<'a> {
    /// Nothing: constants are evaluated without variables.
    None,
    Claims {
        claims: &'a JsonMap<String, Json>,
        seen: BTreeMap<&'a str, Value>,
    },
    User(BTreeMap<&'static str, Value>),
}

impl<'a> Root<'a> {
    pub(crate) fn claims(claims: &'a JsonMap<String, Json>) -> Self {
        Self::Claims {
            claims,
            seen: BTreeMap::new(),
        }
    }

    pub(crate) fn user(user: &User<'_>) -> Self {
        let strings = |list: &[String]| {
            Value::native_list(
                list.iter()
                    .map(|text| Value::string(text.as_str()))
                    .collect(),
            )
            .found_in(Origin::Token)
        };
        let extra = Map {
            strings: user
                .extra
                .iter()
                .map(|(key, values)| (Arc::from(key.as_str()), strings(values)))
                .collect(),
            ..Map::default()
        };
        Self::User(BTreeMap::from([
            ("username", Value::string(user.username)),
            ("uid", Value::string(user.uid)),
            ("groups", strings(user.groups)),
            ("extra", Value::Map(Arc::new(extra), Origin::Token)),
        ]))
    }

    /// A first-level value by its escaped name. A name that only looks escaped finds nothing, even if it exists.
    pub(crate) fn find(
        &mut self,
        name: &str,
        budget: &mut Budget,
    ) -> Result<Option<Value>, Failure> {
        let Some(name) = unescape(name) else {
            return Ok(None);
        };
        match self {
            Self::None => Ok(None),
            Self::User(fields) => Ok(fields.get(name.as_ref()).cloned()),
            Self::Claims { claims, seen } => {
                if let Some(value) = seen.get(name.as_ref()) {
                    return Ok(Some(value.clone()));
                }
                let Some((name, json)) = claims.get_key_value(name.as_ref()) else {
                    return Ok(None);
                };
                let value = convert(json, budget)?.found_in(Origin::Token);
                seen.insert(name, value.clone());
                Ok(Some(value))
            }
        }
    }

    /// Iterating over the variable itself gives its values instead of its keys, as in kube-apiserver.
    pub(crate) fn values(
        &mut self,
        budget: &mut Budget,
    ) -> Result<Vec<Result<Value, Failure>>, Failure> {
        let names: Vec<String> = match self {
            Self::None => Vec::new(),
            Self::Claims { claims, .. } => claims.keys().cloned().collect(),
            Self::User(fields) => fields.keys().map(|name| (*name).to_owned()).collect(),
        };
        let mut values = Vec::with_capacity(names.len());
        for name in names {
            let found = self.find(&name, budget)?;
            // A name that only looks escaped cannot be looked up, not even here.
            values.push(found.ok_or_else(|| Failure::new("no such key")));
        }
        Ok(values)
    }
}

/// JSON as CEL sees it: every number is a double.
fn convert(json: &Json, budget: &mut Budget) -> Result<Value, Failure> {
    budget.step()?;
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => {
            budget.bytes(text.len())?;
            Value::string(text.as_str())
        }
        Json::Array(items) => {
            budget.elements(items.len())?;
            Value::list(
                items
                    .iter()
                    .map(|item| convert(item, budget))
                    .collect::<Result<_, _>>()?,
            )
        }
        Json::Object(members) => {
            budget.elements(members.len())?;
            let mut map = Map::default();
            for (name, member) in members {
                map.strings
                    .insert(Arc::from(name.as_str()), convert(member, budget)?);
            }
            Value::map(map)
        }
    })
}

const KEYWORDS: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Undoes the escapes that make any key a CEL name: `__dot__`, `__dash__`, `__slash__`, `__underscores__` and
/// `__keyword__`. Nothing if there is something in the name that looks like an escape and is none.
pub(crate) fn unescape(name: &str) -> Option<Cow<'_, str>> {
    if !name.contains("__") {
        return Some(Cow::Borrowed(name));
    }
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(start) = rest.find("__") {
        let (before, from) = rest.split_at_checked(start)?;
        text.push_str(before);
        let Some(word) = escaped_word(from) else {
            // The first underscore starts no escape, perhaps the second does.
            text.push('_');
            rest = from.get(1..)?;
            continue;
        };
        match word {
            "underscores" => text.push_str("__"),
            "dot" => text.push('.'),
            "dash" => text.push('-'),
            "slash" => text.push('/'),
            // A keyword is escaped only as a whole name.
            keyword if KEYWORDS.contains(&keyword) && keyword.len() + 4 == name.len() => {
                text.push_str(keyword);
            }
            _ => return None,
        }
        rest = from.get(word.len() + 4..)?;
    }
    text.push_str(rest);
    Some(Cow::Owned(text))
}

/// The word of `__word__` at the start of the text.
fn escaped_word(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("__")?;
    let end = inner.find('_')?;
    let (word, rest) = inner.split_at_checked(end)?;
    (!word.is_empty() && rest.starts_with("__")).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone() {
        for (escaped, name) in [
            ("plain", Some("plain")),
            ("a_b", Some("a_b")),
            ("kubernetes__dot__io", Some("kubernetes.io")),
            ("a__dash__b__slash__c", Some("a-b/c")),
            ("a__underscores__b", Some("a__b")),
            ("__namespace__", Some("namespace")),
            ("x__namespace__", None),
            ("a__b__c", None),
            ("a__b", Some("a__b")),
            ("a___dot__b", Some("a_.b")),
            ("__dot____dot__", Some("..")),
            ("a__", Some("a__")),
        ] {
            assert_eq!(unescape(escaped).as_deref(), name, "{escaped}");
        }
    }
}
