//! The CustomResourceDefinition as it is published.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::json;

use crate::OidcProxy;

/// Limits for what has none of its own: fields of Kubernetes types that are embedded as they are.
const MAX_LENGTH: i64 = 4096;
const MAX_ITEMS: i64 = 64;
const MAX_PROPERTIES: i64 = 64;

/// The definition of `OidcProxy`: derived from the types, with a limit on every string, list and
/// map, and without nullable fields (server-side apply would keep a `null` as a value).
pub fn custom_resource_definition() -> CustomResourceDefinition {
    let mut definition = OidcProxy::crd();
    for version in &mut definition.spec.versions {
        if let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|validation| validation.open_api_v3_schema.as_mut())
        {
            tighten(schema);
            unobserved(schema);
        }
    }
    definition
}

/// A new object says at once that nobody has looked at it: one without a status counts as done for kstatus, and so for
/// Flux, until the operator's first write.
fn unobserved(schema: &mut JSONSchemaProps) {
    let properties = schema.properties.as_mut();
    if let Some(status) = properties.and_then(|properties| properties.get_mut("status")) {
        status.default = Some(JSON(json!({"observedGeneration": -1})));
    }
}

fn tighten(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    // kube-apiserver knows OpenAPI's formats only, and warns of Rust's unsigned ones.
    if schema
        .format
        .as_deref()
        .is_some_and(|format| format.starts_with("uint"))
    {
        schema.format = None;
    }
    match schema.type_.as_deref() {
        Some("string") if schema.enum_.is_none() => {
            schema.max_length.get_or_insert(MAX_LENGTH);
        }
        Some("array") => {
            schema.max_items.get_or_insert(MAX_ITEMS);
        }
        Some("object") if schema.additional_properties.is_some() => {
            schema.max_properties.get_or_insert(MAX_PROPERTIES);
        }
        _ => {}
    }
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|map| map.values_mut())
    {
        tighten(property);
    }
    match schema.items.as_mut() {
        Some(JSONSchemaPropsOrArray::Schema(items)) => tighten(items),
        Some(JSONSchemaPropsOrArray::Schemas(all)) => all.iter_mut().for_each(tighten),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = schema.additional_properties.as_mut() {
        tighten(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(schema: &JSONSchemaProps, path: &str, missing: &mut Vec<String>) {
        let unlimited = match schema.type_.as_deref() {
            Some("string") => schema.max_length.is_none() && schema.enum_.is_none(),
            Some("array") => schema.max_items.is_none(),
            _ => false,
        };
        if unlimited || schema.nullable.is_some() {
            missing.push(path.to_owned());
        }
        for (name, property) in schema.properties.iter().flatten() {
            walk(property, &format!("{path}.{name}"), missing);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            walk(items, &format!("{path}[]"), missing);
        }
        if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
            walk(values, &format!("{path}{{}}"), missing);
        }
    }

    #[test]
    fn everything_has_a_limit_and_nothing_is_nullable() {
        let definition = custom_resource_definition();
        let schema = definition.spec.versions[0]
            .schema
            .as_ref()
            .and_then(|validation| validation.open_api_v3_schema.as_ref())
            .unwrap();
        let mut missing = Vec::new();
        walk(schema, "", &mut missing);
        assert_eq!(missing, Vec::<String>::new());
    }

    /// `kubectl explain` has no links to Rust's names.
    #[test]
    fn descriptions_have_no_links() {
        let definition = serde_json::to_string(&custom_resource_definition()).unwrap();
        assert_eq!(definition.find("[`"), None);
    }

    fn at<'a>(schema: &'a JSONSchemaProps, path: &str) -> &'a JSONSchemaProps {
        path.split('.').fold(schema, |schema, part| match part {
            "[]" => match schema.items.as_ref() {
                Some(JSONSchemaPropsOrArray::Schema(items)) => items,
                _ => panic!("{path}: no items"),
            },
            "{}" => match schema.additional_properties.as_ref() {
                Some(JSONSchemaPropsOrBool::Schema(values)) => values,
                _ => panic!("{path}: no values"),
            },
            name => &schema.properties.as_ref().unwrap()[name],
        })
    }

    /// Whatever the spec may say, the status has room for it: a status that is refused says nothing.
    #[test]
    fn settings_have_room_for_all_that_a_spec_may_say() {
        let definition = custom_resource_definition();
        let validation = definition.spec.versions[0].schema.as_ref().unwrap();
        let whole = validation.open_api_v3_schema.as_ref().unwrap();
        let (spec, settings) = (at(whole, "spec"), at(whole, "status.settings"));
        let jwt = "authentication.jwt.[]";
        let issuer = "authentication.issuers.[]";
        let entry =
            |spec: &str, settings: &str| (format!("{jwt}.{spec}"), format!("{issuer}.{settings}"));
        let same = |path: &str| (path.to_owned(), path.to_owned());
        let rows = [
            ("authentication.jwt".into(), "authentication.issuers".into()),
            (
                "authentication.jwt".into(),
                "authentication.certificateAuthorities".into(),
            ),
            (
                format!("{jwt}.issuer.certificateAuthority"),
                "authentication.certificateAuthorities.{}".into(),
            ),
            entry("name", "name"),
            entry("issuer.url", "url"),
            entry("issuer.discoveryURL", "discoveryURL"),
            entry("issuer.audiences", "audiences"),
            entry("issuer.audiences.[]", "audiences.[]"),
            entry("claimValidationRules", "claimValidationRules"),
            entry("claimMappings", "claimMappings"),
            entry("userValidationRules", "userValidationRules"),
            same("authentication.reservedPrefixes.[]"),
            same("authentication.allowedReservedGroups"),
            same("authentication.tokenPassthrough.audiences"),
            same("authentication.anonymous"),
            same("impersonation.asExtraKeys"),
            same("impersonation.restrictTo"),
            same("impersonation.extra"),
            same("serving.trustedProxies"),
            same("limits"),
        ];
        for (from, to) in rows {
            let (from_schema, to_schema) = (at(spec, &from), at(settings, &to));
            let mut narrower = Vec::new();
            holds(from_schema, to_schema, &to, &mut narrower);
            assert_eq!(narrower, Vec::<String>::new(), "spec.{from}");
        }
        // Those of the operator's own come on top.
        let prefixes = at(settings, "authentication.reservedPrefixes")
            .max_items
            .unwrap();
        let given = at(spec, "authentication.reservedPrefixes")
            .max_items
            .unwrap();
        let own = i64::try_from(crate::v1alpha1::authentication::RESERVED_PREFIXES.len()).unwrap();
        assert!(given + own <= prefixes, "{given} and {own}: {prefixes}");
        // What comes by a reference is as long as the operator lets it be.
        let authority = at(settings, "authentication.certificateAuthorities.{}").max_length;
        let most = crate::v1alpha1::settings::MAX_CERTIFICATE_AUTHORITY_BYTES;
        assert_eq!(authority, i64::try_from(most).ok());
        let policy = at(settings, "audit.policy").max_length;
        let most = crate::v1alpha1::audit_policy::MAX_POLICY_BYTES;
        assert_eq!(policy, i64::try_from(most).ok());
        let bundle = at(whole, "status.caBundle").max_length;
        assert_eq!(bundle, authority);
    }

    /// Notes each limit of `to` that is below that of `from`.
    fn holds(from: &JSONSchemaProps, to: &JSONSchemaProps, path: &str, narrower: &mut Vec<String>) {
        for (what, given, room) in [
            ("maxLength", from.max_length, to.max_length),
            (
                "maxItems",
                from.max_items,
                to.max_items.or(to.max_properties),
            ),
            ("maxProperties", from.max_properties, to.max_properties),
        ] {
            if let (Some(given), Some(room)) = (given, room)
                && given > room
            {
                narrower.push(format!("{path}: {what} {given} > {room}"));
            }
        }
        for (name, property) in from.properties.iter().flatten() {
            if let Some(same) = to.properties.as_ref().and_then(|all| all.get(name)) {
                holds(property, same, &format!("{path}.{name}"), narrower);
            }
        }
        if let (
            Some(JSONSchemaPropsOrArray::Schema(from)),
            Some(JSONSchemaPropsOrArray::Schema(to)),
        ) = (&from.items, &to.items)
        {
            holds(from, to, &format!("{path}[]"), narrower);
        }
    }

    #[test]
    fn the_published_file_is_current() {
        let published = include_str!("../oidcproxies.yaml");
        let derived = serde_saphyr::to_string(&custom_resource_definition()).unwrap();
        assert_eq!(
            published, derived,
            "crds/oidcproxies.yaml is stale: run `make generate`"
        );
    }
}
