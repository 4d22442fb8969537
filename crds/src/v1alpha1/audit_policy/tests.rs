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
