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
