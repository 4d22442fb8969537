//! kube-apiserver's audit policy (`audit.k8s.io/v1` `Policy`), read strictly and by its rules. The
//! operator reads it from a ConfigMap before it publishes it, the proxy from the settings or a
//! file.

use serde::Serialize;
use serde_json::{Map, Value};

use super::issuer_rules::FieldError;

/// The largest policy, in bytes of its text.
pub const MAX_POLICY_BYTES: usize = 64 * 1024;

const API_VERSION: &str = "audit.k8s.io/v1";
const KIND: &str = "Policy";

/// How much is recorded of a request.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum AuditLevel {
    /// Nothing.
    #[default]
    None,
    /// Who did what to which object.
    Metadata,
    /// The request's object, too.
    Request,
    /// The answer's object, too.
    RequestResponse,
}

/// When an event is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum AuditStage {
    /// As soon as it is known who asks.
    RequestReceived,
    /// When the answer of a long-running request begins.
    ResponseStarted,
    /// When the answer has ended.
    ResponseComplete,
    /// When the server failed.
    Panic,
}

/// Which requests are recorded.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditPolicy {
    /// Stages without events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub omit_stages: Vec<AuditStage>,
    /// Whether `metadata.managedFields` is left out of objects.
    pub omit_managed_fields: bool,
    /// The first that matches counts; what none matches is not recorded.
    pub rules: Vec<AuditPolicyRule>,
}

/// Requests that everything given here matches.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditPolicyRule {
    /// How much is recorded.
    pub level: AuditLevel,
    /// Names of authenticated users.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Groups, of which the user is in one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub user_groups: Vec<String>,
    /// kube-apiserver's verbs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<String>,
    /// Resources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<GroupResources>,
    /// Namespaces; the empty one stands for resources without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Paths that are of no resource, perhaps with a `*` at the end.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
    /// Stages without events, beside those of the policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub omit_stages: Vec<AuditStage>,
    /// Instead of the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub omit_managed_fields: Option<bool>,
}

/// Resources of one API group.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupResources {
    /// The group; empty for the core's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// `pods`, `pods/log`, `pods/*`, `*/scale`, `*`; none: all of the group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Names of objects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
}

impl AuditPolicy {
    /// Reads a policy. Everything that is wrong is found at once, and nothing of it is quoted.
    pub fn from_yaml(text: &str) -> Result<Self, Vec<FieldError>> {
        if text.len() > MAX_POLICY_BYTES {
            let message = format!("has more than {MAX_POLICY_BYTES} bytes");
            return Err(vec![error("policy", message)]);
        }
        let document: Value = serde_saphyr::from_str(text)
            .map_err(|_| vec![error("policy", "is not a YAML document")])?;
        let mut reader = Reader::default();
        let policy = reader.policy(&document);
        if reader.0.is_empty() {
            Ok(policy)
        } else {
            Err(reader.0)
        }
    }

    /// As JSON, without what says nothing; [`AuditPolicy::from_yaml`] reads it.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut document = serde_json::to_value(self)?;
        if let Some(fields) = document.as_object_mut() {
            fields.insert("apiVersion".to_owned(), API_VERSION.into());
            fields.insert("kind".to_owned(), KIND.into());
        }
        serde_json::to_string(&document)
    }
}

/// Reads, and collects what is wrong.
#[derive(Default)]
struct Reader(Vec<FieldError>);

impl Reader {
    fn policy(&mut self, document: &Value) -> AuditPolicy {
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
            Value::String(group) if group.is_empty() || is_subdomain(group) => group,
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

fn error(path: impl Into<String>, message: impl Into<String>) -> FieldError {
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

fn is_subdomain(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_label = |label: &str| {
        !label.is_empty()
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";

    fn wrong(rest: &str) -> Vec<String> {
        let errors = AuditPolicy::from_yaml(&format!("{HEAD}{rest}")).unwrap_err();
        errors.into_iter().map(|error| error.path).collect()
    }

    #[test]
    fn a_policy_is_read_and_written() {
        let text = format!(
            "{HEAD}metadata: {{name: x}}
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: None
  users: ['system:kube-proxy']
  verbs: [watch]
  resources: [{{group: '', resources: [endpoints, services/status], resourceNames: [a]}}]
- level: Metadata
  nonResourceURLs: ['/healthz*', '*']
  omitManagedFields: false
- {{level: RequestResponse, namespaces: [''], userGroups: [dev], omitStages: [Panic]}}
"
        );
        let policy = AuditPolicy::from_yaml(&text).unwrap();
        assert_eq!(policy.rules.len(), 3);
        assert_eq!(policy.rules[0].resources[0].resources[1], "services/status");
        assert_eq!(policy.rules[1].omit_managed_fields, Some(false));
        assert_eq!(policy.rules[2].level, AuditLevel::RequestResponse);
        let again = AuditPolicy::from_yaml(&policy.to_json().unwrap()).unwrap();
        assert_eq!(again, policy);
    }

    #[test]
    fn what_is_wrong_is_named_and_not_quoted() {
        for (rest, path) in [
            ("", "rules"),
            ("rules: []", "rules"),
            ("rules: [{}]", "rules[0].level"),
            ("rules: [{level: secret}]", "rules[0].level"),
            ("rules: [{level: None, verbs: get}]", "rules[0].verbs"),
            ("rules: [{level: None, users: [1]}]", "rules[0].users[0]"),
            ("rules: [{level: None, secret: 1}]", "rules[0]"),
            ("rules: [{level: None}]\nsecret: 1", "policy"),
            (
                "rules: [{level: None, omitStages: [secret]}]",
                "rules[0].omitStages[0]",
            ),
            (
                "rules: [{level: None, nonResourceURLs: [secret]}]",
                "rules[0].nonResourceURLs[0]",
            ),
            (
                "rules: [{level: None, nonResourceURLs: ['/a*b']}]",
                "rules[0].nonResourceURLs[0]",
            ),
            (
                "rules: [{level: None, nonResourceURLs: ['/a'], namespaces: [a]}]",
                "rules[0].nonResourceURLs",
            ),
            (
                "rules: [{level: None, resources: [{group: secret/v1}]}]",
                "rules[0].resources[0].group",
            ),
            (
                "rules: [{level: None, resources: [{resourceNames: [a]}]}]",
                "rules[0].resources[0].resourceNames",
            ),
            (
                "rules: [{level: None}]\nomitManagedFields: 1",
                "omitManagedFields",
            ),
        ] {
            assert_eq!(wrong(rest), [path], "{rest}");
            let errors = AuditPolicy::from_yaml(&format!("{HEAD}{rest}")).unwrap_err();
            assert!(!errors[0].message.contains("secret"), "{errors:?}");
        }
        for other in ["a: [", "- a", "kind: Policy\nrules: [{level: None}]"] {
            assert_eq!(AuditPolicy::from_yaml(other).unwrap_err()[0].path, "policy");
        }
    }
}
