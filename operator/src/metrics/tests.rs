use kube::runtime::controller::Action;
use serde_json::json;

use super::*;

fn status(stalled: bool, certificate: bool) -> OidcProxyStatus {
    let condition = |type_: &str, status: &str| {
        json!({
            "type": type_, "status": status, "reason": "R", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    let mut all = vec![
        condition("Ready", "True"),
        condition("Serving", "True"),
        condition("IssuersReachable", "Unknown"),
    ];
    all.extend(stalled.then(|| condition("Stalled", "True")));
    let ends = json!({
        "notAfter": "1970-01-01T00:00:01Z", "serial": "ab", "authorityNotAfter": "1970-01-01T00:00:03Z",
        "previousAuthorityNotAfter": "1970-01-01T00:00:02Z",
    });
    let ends = certificate.then_some(ends);
    let mut status = json!({ "conditions": all });
    if let Some(ends) = ends {
        status["certificate"] = ends;
    }
    serde_json::from_value(status).unwrap()
}

#[test]
fn what_is_gone_is_not_reported() {
    let metrics = Metrics::default();
    metrics.set_leader(true);
    metrics.observe("auth", "corp", &status(true, true));
    metrics.reconcile().finish(&Err(Error::Timeout));
    let passed = |stalled| Passed {
        action: Action::await_change(),
        stalled,
    };
    metrics.reconcile().finish(&Ok(passed(true)));
    metrics.reconcile().finish(&Ok(passed(false)));
    let text = metrics.encode();
    let has = |line: &str| assert!(text.contains(line), "{line}: {text}");
    has("oidc_proxy_operator_leader 1");
    for outcome in ["timeout", "stalled", "success"] {
        has(&format!(
            r#"oidc_proxy_operator_reconciles_total{{outcome="{outcome}"}} 1"#
        ));
    }
    has(r#"resource_ready{namespace="auth",name="corp"} 1"#);
    has(r#"authority_not_after_seconds{namespace="auth",name="corp"} 3"#);
    has(r#"previous_authority_not_after_seconds{namespace="auth",name="corp"} 2"#);
    metrics.observe("auth", "corp", &status(false, false));
    let text = metrics.encode();
    assert!(!text.contains("not_after_seconds{namespace"), "{text}");
    metrics.forget("auth", "corp");
    assert!(!metrics.encode().contains("corp"));
    metrics.observe("auth", "corp", &status(false, true));
    metrics.observe("auth", "other", &status(false, true));
    metrics.retain(&[("auth", "other"), ("elsewhere", "corp")].into());
    let text = metrics.encode();
    assert!(!text.contains("corp"), "{text}");
    assert_eq!(text.matches(r#"name="other""#).count(), 9, "{text}");
}

/// The names in docs/metrics.md, in the section about the operator.
fn documented() -> Vec<&'static str> {
    let text = include_str!("../../../docs/metrics.md");
    let (_, section) = text.split_once("\n## The operator\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap()).collect()
}

/// Its exposition has the families that have a series; the code has all of them.
#[test]
fn the_documented_metrics_are_those_that_there_are() {
    let metrics = Metrics::default();
    metrics.observe("auth", "corp", &status(true, true));
    metrics.reconcile().finish(&Err(Error::Timeout));
    let text = metrics.encode();
    for family in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = match family.split_once(' ').unwrap() {
            (name, "counter") => format!("{name}_total"),
            (name, "info") => format!("{name}_info"),
            (name, _) => name.to_owned(),
        };
        assert!(documented().contains(&&*name), "{name} is not documented");
    }
    let code = include_str!("../metrics.rs");
    for name in documented() {
        let name = name.trim_start_matches("oidc_proxy_operator_");
        let name = name.trim_end_matches("_total").trim_end_matches("_info");
        assert!(code.contains(&format!("\"{name}\"")), "there is no {name}");
    }
}

#[test]
fn a_condition_is_shown_by_the_status_it_has() {
    let metrics = Metrics::default();
    let shown = |stalled: bool| -> Vec<String> {
        metrics.observe("auth", "corp", &status(stalled, false));
        let text = metrics.encode();
        let mut lines: Vec<String> = text
            .lines()
            .filter_map(|line| {
                line.split_once("resource_condition{")?
                    .1
                    .strip_suffix("} 1")
            })
            .map(|labels| labels.replace(r#"namespace="auth",name="corp","#, ""))
            .collect();
        lines.sort();
        lines
    };
    for (stalled, now) in [(false, "False"), (true, "True"), (false, "False")] {
        let expected = [
            r#"type="IssuersReachable",status="Unknown""#.to_owned(),
            r#"type="MappingWarning",status="False""#.to_owned(),
            r#"type="Ready",status="True""#.to_owned(),
            r#"type="Serving",status="True""#.to_owned(),
            format!(r#"type="Stalled",status="{now}""#),
        ];
        assert_eq!(shown(stalled), expected);
    }
}

/// Every metric that the chart's alerts read is one of these, and there is none else.
#[test]
fn alerts_read_what_there_is() {
    let metrics = Metrics::default();
    metrics.set_leader(true);
    metrics.observe("auth", "corp", &status(true, true));
    let text = metrics.encode();
    let rule = include_str!("../../../charts/oidc-proxy-operator/templates/prometheusrule.yaml");
    let expressions: Vec<&str> = rule
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "))
        .collect();
    assert!(expressions.len() >= 8, "{expressions:?}");
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    for expression in expressions {
        let names: Vec<&str> = expression
            .split(word)
            .filter(|name| name.starts_with("oidc_proxy_"))
            .collect();
        assert!(
            !names.is_empty() || expression.contains("up{"),
            "{expression}"
        );
        for name in names {
            let exists = |line: &str| line.split(['{', ' ']).next() == Some(name);
            assert!(text.lines().any(exists), "{name}: {text}");
        }
        for (label, known) in [("type=\"", &SHOWN[..]), ("status=\"", &STATUSES[..])] {
            let values = expression.split(label).skip(1);
            for value in values.filter_map(|rest| rest.split('"').next()) {
                assert!(known.contains(&value), "{label}{value}: {expression}");
            }
        }
    }
}
