//! A policy out of a document: each field by its rule, and all that is wrong at once.

use serde_json::{Map, Value};

use super::{
    API_VERSION, AuditLevel, AuditPolicy, AuditPolicyRule, AuditStage, GroupResources, KIND,
};
use crate::{dns_name, v1alpha1::issuer_rules::FieldError};

/// Reads, and collects what is wrong.
#[derive(Default)]
pub(super) struct Reader(pub(super) Vec<FieldError>);

impl Reader {
    pub(super) fn policy(&mut self, document: &Value) -> AuditPolicy {
        let known = [
            "apiVersion",
            "kind",
            "metadata",
            "omitStages",
            "omitManagedFields",
            "rules",
        ];
        let Some(fields) = self.object(document, "policy", &known) else {
            return AuditPolicy::default();
        };
        let is =
            |field: &str, value: &str| fields.get(field).and_then(Value::as_str) == Some(value);
        if !is("apiVersion", API_VERSION) || !is("kind", KIND) {
            self.add("policy", format!("must be {API_VERSION} {KIND}"));
        }
        let rules = self.list(fields, "rules", "rules");
        if rules.is_empty() {
            self.add("rules", "at least one is required");
        }
        let rules = rules
            .iter()
            .enumerate()
            .map(|(index, rule)| self.rule(rule, &format!("rules[{index}]")))
            .collect();
        AuditPolicy {
            omit_stages: self.stages(fields, "omitStages"),
            omit_managed_fields: self
                .boolean(fields, "omitManagedFields", "omitManagedFields")
                .unwrap_or_default(),
            rules,
        }
    }

    fn rule(&mut self, rule: &Value, path: &str) -> AuditPolicyRule {
        let known = [
            "level",
            "users",
            "userGroups",
            "verbs",
            "resources",
            "namespaces",
            "nonResourceURLs",
            "omitStages",
            "omitManagedFields",
        ];
        let Some(fields) = self.object(rule, path, &known) else {
            return AuditPolicyRule::default();
        };
        let of = |field: &str| format!("{path}.{field}");
        let level = fields.get("level").and_then(Value::as_str).and_then(level);
        if level.is_none() {
            let message = "must be None, Metadata, Request or RequestResponse";
            self.add(of("level"), message);
        }
        let resources = self.list(fields, "resources", &of("resources"));
        let resources = resources
            .iter()
            .enumerate()
            .map(|(index, value)| self.resources(value, &format!("{path}.resources[{index}]")))
            .collect();
        let rule = AuditPolicyRule {
            level: level.unwrap_or_default(),
            users: self.strings(fields, "users", path),
            user_groups: self.strings(fields, "userGroups", path),
            verbs: self.strings(fields, "verbs", path),
            resources,
            namespaces: self.strings(fields, "namespaces", path),
            non_resource_urls: self.strings(fields, "nonResourceURLs", path),
            omit_stages: self.stages(fields, &of("omitStages")),
            omit_managed_fields: self.boolean(
                fields,
                "omitManagedFields",
                &of("omitManagedFields"),
            ),
        };
        for (index, url) in rule.non_resource_urls.iter().enumerate() {
            self.non_resource_url(url, &format!("{path}.nonResourceURLs[{index}]"));
        }
        let of_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
        if !rule.non_resource_urls.is_empty() && of_resources {
            let message = "a rule is for resources or for other URLs, not for both";
            self.add(of("nonResourceURLs"), message);
        }
        rule
    }

    fn resources(&mut self, value: &Value, path: &str) -> GroupResources {
        let known = ["group", "resources", "resourceNames"];
        let Some(fields) = self.object(value, path, &known) else {
            return GroupResources::default();
        };
        let group = fields.get("group").unwrap_or(&Value::Null);
        let group = match group {
            Value::Null => "",
            Value::String(group) if group.is_empty() || dns_name::is_subdomain(group) => group,
            _ => {
                let message = "must be the name of an API group, without a version";
                self.add(format!("{path}.group"), message);
                ""
            }
        };
        let resources = GroupResources {
            group: group.to_owned(),
            resources: self.strings(fields, "resources", path),
            resource_names: self.strings(fields, "resourceNames", path),
        };
        if resources.resources.is_empty() && !resources.resource_names.is_empty() {
            let message = "needs at least one resource";
            self.add(format!("{path}.resourceNames"), message);
        }
        resources
    }

    fn non_resource_url(&mut self, url: &str, path: &str) {
        if url == "*" {
            return;
        }
        if !url.starts_with('/') {
            self.add(path, "must begin with /");
        }
        if url.strip_suffix('*').unwrap_or(url).contains('*') {
            self.add(path, "* may be the last character only");
        }
    }

    fn object<'a>(
        &mut self,
        value: &'a Value,
        path: &str,
        known: &[&str],
    ) -> Option<&'a Map<String, Value>> {
        let Some(fields) = value.as_object() else {
            self.add(path, "must be an object");
            return None;
        };
        if fields.keys().any(|field| !known.contains(&field.as_str())) {
            let known = known.join(", ");
            self.add(path, format!("has a field that is none of {known}"));
        }
        Some(fields)
    }

    fn list<'a>(&mut self, fields: &'a Map<String, Value>, field: &str, path: &str) -> &'a [Value] {
        match fields.get(field) {
            None | Some(Value::Null) => &[],
            Some(Value::Array(values)) => values,
            Some(_) => {
                self.add(path, "must be a list");
                &[]
            }
        }
    }

    fn strings(&mut self, fields: &Map<String, Value>, field: &str, parent: &str) -> Vec<String> {
        let path = format!("{parent}.{field}");
        let mut strings = Vec::new();
        for (index, value) in self.list(fields, field, &path).iter().enumerate() {
            match value.as_str() {
                Some(text) => strings.push(text.to_owned()),
                None => self.add(format!("{path}[{index}]"), "must be a string"),
            }
        }
        strings
    }

    fn stages(&mut self, fields: &Map<String, Value>, path: &str) -> Vec<AuditStage> {
        let mut stages = Vec::new();
        for (index, value) in self.list(fields, "omitStages", path).iter().enumerate() {
            match value.as_str().and_then(stage) {
                Some(stage) => stages.push(stage),
                None => self.add(
                    format!("{path}[{index}]"),
                    "must be RequestReceived, ResponseStarted, ResponseComplete or Panic",
                ),
            }
        }
        stages
    }

    fn boolean(&mut self, fields: &Map<String, Value>, field: &str, path: &str) -> Option<bool> {
        match fields.get(field) {
            None | Some(Value::Null) => None,
            Some(Value::Bool(value)) => Some(*value),
            Some(_) => {
                self.add(path, "must be true or false");
                None
            }
        }
    }

    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(error(path, message));
    }
}

pub(super) fn error(path: impl Into<String>, message: impl Into<String>) -> FieldError {
    FieldError {
        path: path.into(),
        message: message.into(),
    }
}

fn level(name: &str) -> Option<AuditLevel> {
    Some(match name {
        "None" => AuditLevel::None,
        "Metadata" => AuditLevel::Metadata,
        "Request" => AuditLevel::Request,
        "RequestResponse" => AuditLevel::RequestResponse,
        _ => return None,
    })
}

fn stage(name: &str) -> Option<AuditStage> {
    Some(match name {
        "RequestReceived" => AuditStage::RequestReceived,
        "ResponseStarted" => AuditStage::ResponseStarted,
        "ResponseComplete" => AuditStage::ResponseComplete,
        "Panic" => AuditStage::Panic,
        _ => return None,
    })
}
