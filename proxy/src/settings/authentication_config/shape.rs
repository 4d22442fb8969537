//! Which fields an `AuthenticationConfiguration` has. serde would take a list for a struct, and a field that is `null`
//! would have to go before anybody asks whether it is known.

use serde_json::{Map, Value};

use super::AuthenticationConfigError;

enum Shape {
    Struct(&'static [(&'static str, Self)]),
    ListOf(&'static Self),
    Text,
    Flag,
}

use Shape::{Flag, ListOf, Struct, Text};

const CONFIGURATION: Shape = Struct(&[
    ("apiVersion", Text),
    ("kind", Text),
    ("jwt", ListOf(&JWT)),
    (
        "anonymous",
        Struct(&[
            ("enabled", Flag),
            ("conditions", ListOf(&Struct(&[("path", Text)]))),
        ]),
    ),
]);

const JWT: Shape = Struct(&[
    ("issuer", ISSUER),
    ("claimValidationRules", ListOf(&CLAIM_VALIDATION_RULE)),
    ("claimMappings", CLAIM_MAPPINGS),
    ("userValidationRules", ListOf(&USER_VALIDATION_RULE)),
]);

const ISSUER: Shape = Struct(&[
    ("url", Text),
    ("discoveryURL", Text),
    ("certificateAuthority", Text),
    ("audiences", ListOf(&Text)),
    ("audienceMatchPolicy", Text),
    ("egressSelectorType", Text),
]);

const CLAIM_VALIDATION_RULE: Shape = Struct(&[
    ("claim", Text),
    ("requiredValue", Text),
    ("expression", Text),
    ("message", Text),
]);

const USER_VALIDATION_RULE: Shape = Struct(&[("expression", Text), ("message", Text)]);

const CLAIM_MAPPINGS: Shape = Struct(&[
    ("username", PREFIXED),
    ("groups", PREFIXED),
    ("uid", Struct(&[("claim", Text), ("expression", Text)])),
    (
        "extra",
        ListOf(&Struct(&[("key", Text), ("valueExpression", Text)])),
    ),
]);

const PREFIXED: Shape = Struct(&[("claim", Text), ("prefix", Text), ("expression", Text)]);

/// Removes what is `null`, as Go leaves such a field alone, and gives the path of the first field that is not known.
/// Texts and flags are left to serde.
pub(super) fn fit(document: &mut Value) -> Result<Option<String>, AuthenticationConfigError> {
    let mut unknown = None;
    CONFIGURATION.fit(document, "", &mut unknown)?;
    Ok(unknown)
}

impl Shape {
    fn fit(
        &self,
        value: &mut Value,
        path: &str,
        unknown: &mut Option<String>,
    ) -> Result<(), AuthenticationConfigError> {
        match (self, value) {
            (Struct(fields), Value::Object(members)) => fit_members(fields, members, path, unknown),
            // An element that is null is an empty one.
            (Struct(_), value @ Value::Null) => {
                *value = Value::Object(Map::new());
                Ok(())
            }
            (Text, value @ Value::Null) => {
                *value = Value::String(String::new());
                Ok(())
            }
            (Struct(_), _) if path.is_empty() => Err(AuthenticationConfigError::Kind),
            (Struct(_), _) => Err(AuthenticationConfigError::Decode(format!(
                "{path}: must be an object"
            ))),
            (ListOf(element), Value::Array(items)) => {
                let mut items = items.iter_mut().enumerate();
                items.try_for_each(|(index, item)| {
                    element.fit(item, &format!("{path}[{index}]"), unknown)
                })
            }
            (ListOf(_) | Text | Flag, _) => Ok(()),
        }
    }
}

fn fit_members(
    fields: &[(&str, Shape)],
    members: &mut Map<String, Value>,
    path: &str,
    unknown: &mut Option<String>,
) -> Result<(), AuthenticationConfigError> {
    for (name, value) in members.iter_mut() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        match fields.iter().find(|(known, _)| known == name) {
            None => {
                unknown.get_or_insert(path);
            }
            Some(_) if value.is_null() => {}
            Some((_, shape)) => shape.fit(value, &path, unknown)?,
        }
    }
    members.retain(|_, member| !member.is_null());
    Ok(())
}
