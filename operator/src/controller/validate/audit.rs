//! The audit trail: a policy that kube-apiserver would take, and a webhook that needs nothing but
//! its kubeconfig. What the ConfigMap and the Secret hold is never quoted.

use aws_lc_rs::digest::{SHA256, digest};
use kube::config::{AuthInfo, Cluster, Kubeconfig};
use oidcproxy_crds::v1alpha1::{
    audit::Audit,
    audit_policy::{AuditPolicy, MAX_POLICY_BYTES},
    settings::{AuditSettings, MountedSecret},
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Findings, Reason};
use crate::controller::dereference::{Missing, References};

/// The folder that the webhook's Secret is mounted as.
pub const WEBHOOK_MOUNT: &str = "audit-webhook";
const POLICY: &str = "audit.policyFrom";
const KUBECONFIG: &str = "audit.webhook.kubeconfigFrom";

/// An audit trail that can be realised.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditTrail {
    /// An `audit.k8s.io/v1` policy as JSON.
    pub policy: String,
    /// Whether events are written to the container's log.
    pub log: bool,
    /// Where they are sent.
    pub webhook: Option<AuditWebhook>,
}

/// A webhook for audit events.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AuditWebhook {
    /// The Secret with its kubeconfig.
    pub secret: String,
    /// The key in it.
    pub key: String,
    /// `sha256:` and the hash of the kubeconfig.
    pub hash: String,
    /// The port that it is reached at.
    pub port: i32,
}

impl AuditTrail {
    /// What the proxies are told of it.
    pub fn settings(&self) -> AuditSettings {
        AuditSettings {
            policy: self.policy.clone(),
            log: self.log,
            webhook: self.webhook.as_ref().map(|webhook| MountedSecret {
                mount: WEBHOOK_MOUNT.to_owned(),
                hash: webhook.hash.clone(),
            }),
        }
    }
}

pub(super) fn check(
    audit: Option<&Audit>,
    references: &References,
    findings: &mut Findings,
) -> Option<AuditTrail> {
    let audit = audit?;
    let log = audit.log.as_ref().is_some_and(|log| log.enabled);
    let has_backend = log || audit.webhook.is_some();
    if audit.policy_from.is_none() {
        if has_backend {
            findings.invalid(POLICY, "is needed for log and webhook");
        }
        return None;
    }
    if !has_backend {
        findings.invalid("audit", "policyFrom needs log.enabled or webhook");
    }
    let policy = text(references.audit_policy.as_ref(), POLICY, findings);
    let policy = policy.and_then(|text| read_policy(text, findings));
    let webhook = audit.webhook.as_ref().map(|webhook| {
        let source = &webhook.kubeconfig_from;
        let text = text(references.audit_webhook.as_ref(), KUBECONFIG, findings)?;
        let port = webhook_port(text, findings)?;
        Some(AuditWebhook {
            secret: source.name.clone(),
            key: source.key.clone(),
            hash: format!("sha256:{}", hex::encode(digest(&SHA256, text.as_bytes()))),
            port,
        })
    });
    Some(AuditTrail {
        policy: policy?,
        log,
        webhook: match webhook {
            None => None,
            Some(usable) => Some(usable?),
        },
    })
}

fn text<'a>(
    content: Option<&'a Result<Vec<u8>, Missing>>,
    path: &str,
    findings: &mut Findings,
) -> Option<&'a str> {
    match content? {
        Err(Missing(what)) => {
            findings.missing(Reason::ReferenceNotFound, path, what);
            None
        }
        Ok(bytes) => {
            let text = std::str::from_utf8(bytes).ok();
            if text.is_none() {
                findings.unusable(path, "must be text");
            }
            text
        }
    }
}

fn read_policy(text: &str, findings: &mut Findings) -> Option<String> {
    match AuditPolicy::from_yaml(text) {
        Ok(policy) => {
            let json = policy.to_json().ok();
            // The proxies read JSON, which can be longer than the YAML that it is of.
            if json
                .as_ref()
                .is_some_and(|json| json.len() > MAX_POLICY_BYTES)
            {
                let message = format_args!("has more than {MAX_POLICY_BYTES} bytes as JSON");
                findings.missing(Reason::SettingsTooLarge, POLICY, message);
                return None;
            }
            json
        }
        Err(errors) => {
            for error in errors {
                findings.unusable(format_args!("{POLICY}: {}", error.path), error.message);
            }
            None
        }
    }
}

/// The port of the webhook, if the kubeconfig can be used as it is.
fn webhook_port(text: &str, findings: &mut Findings) -> Option<i32> {
    let Ok(kubeconfig) = Kubeconfig::from_yaml(text) else {
        findings.unusable(KUBECONFIG, "is not a kubeconfig");
        return None;
    };
    let Some((cluster, user)) = current(&kubeconfig) else {
        let message = "its current context must name a cluster, and a user if any";
        findings.unusable(KUBECONFIG, message);
        return None;
    };
    let url = cluster
        .server
        .as_deref()
        .and_then(|url| Url::parse(url).ok());
    let url = url.filter(|url| url.scheme() == "https" && url.has_host());
    if url.is_none() {
        findings.unusable(KUBECONFIG, "its server must be an https URL");
    }
    let is_verified = !cluster.insecure_skip_tls_verify.unwrap_or_default();
    if !is_verified || cluster.proxy_url.is_some() {
        let message = "insecure-skip-tls-verify and proxy-url are not supported";
        findings.unusable(KUBECONFIG, message);
    }
    if cluster.certificate_authority.is_some() || user.is_some_and(needs_more) {
        let message = "it must hold everything itself: certificates as data and a token; no files, exec, auth-provider or password";
        findings.unusable(KUBECONFIG, message);
    }
    url?.port_or_known_default().map(i32::from)
}

fn current(kubeconfig: &Kubeconfig) -> Option<(&Cluster, Option<&AuthInfo>)> {
    let name = kubeconfig.current_context.as_ref()?;
    let mut contexts = kubeconfig.contexts.iter();
    let context = contexts.find(|named| named.name == *name)?;
    let context = context.context.as_ref()?;
    let mut clusters = kubeconfig.clusters.iter();
    let cluster = clusters.find(|named| named.name == context.cluster)?;
    let user = match context.user.as_ref().filter(|name| !name.is_empty()) {
        None => None,
        Some(name) => {
            let mut users = kubeconfig.auth_infos.iter();
            let user = users.find(|named| named.name == *name)?;
            user.auth_info.as_ref()
        }
    };
    Some((cluster.cluster.as_ref()?, user))
}

fn needs_more(user: &AuthInfo) -> bool {
    user.exec.is_some()
        || user.auth_provider.is_some()
        || user.username.is_some()
        || user.password.is_some()
        || user.token_file.is_some()
        || user.client_certificate.is_some()
        || user.client_key.is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::{
        identity::Identity,
        refusal::Refusal,
        validate::{
            Validated,
            tests::{options, proxy},
            validate,
        },
    };

    const GOOD: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]";

    fn kubeconfig(cluster: &Value, user: &Value) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "clusters": [{"name": "a", "cluster": cluster}],
            "users": [{"name": "a", "user": user}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        })
        .to_string()
    }

    fn usual() -> String {
        let cluster = json!({"server": "https://audit.example.com:8443/events", "certificate-authority-data": "eA=="});
        kubeconfig(&cluster, &json!({"token": "hunter2"}))
    }

    fn full() -> Value {
        json!({
            "policyFrom": {"name": "policy", "key": "policy.yaml"},
            "log": {"enabled": true},
            "webhook": {"kubeconfigFrom": {"name": "webhook", "key": "config"}},
        })
    }

    fn with(audit: &Value, policy: &str, kubeconfig: &str) -> Result<Validated, Refusal> {
        let references = References {
            audit_policy: Some(Ok(policy.into())),
            audit_webhook: Some(Ok(kubeconfig.into())),
            ..References::default()
        };
        let proxy = proxy(json!({"audit": audit}));
        let identity = Identity::of(&proxy).unwrap();
        validate(&proxy, identity, &references, &options())
    }

    #[test]
    fn a_trail_is_told_without_its_secret() {
        let trail = with(&full(), GOOD, &usual()).unwrap().audit.unwrap();
        assert!(trail.log);
        let webhook = trail.webhook.as_ref().unwrap();
        assert_eq!(
            (webhook.port, &*webhook.secret, &*webhook.key),
            (8443, "webhook", "config")
        );
        let settings = trail.settings();
        let text = serde_json::to_string(&settings).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(settings.webhook.unwrap().mount, "audit-webhook");
        assert!(AuditPolicy::from_yaml(&settings.policy).is_ok());
        let other = with(&full(), GOOD, &usual().replace("hunter2", "hunter3"));
        assert_ne!(
            other.unwrap().audit.unwrap().webhook.unwrap().hash,
            webhook.hash
        );
    }

    #[test]
    fn nothing_is_asked_for_by_an_empty_object() {
        for audit in [json!({}), json!({"log": {"enabled": false}})] {
            assert_eq!(with(&audit, GOOD, &usual()).unwrap().audit, None);
        }
    }

    #[test]
    fn what_is_wrong_names_its_field_and_quotes_nothing() {
        let secret = json!({"policyFrom": {"name": "policy", "key": "policy.yaml"}});
        let server = |url: &str| kubeconfig(&json!({"server": url}), &json!({"token": "hunter2"}));
        let user = |user: Value| kubeconfig(&json!({"server": "https://a"}), &user);
        for (audit, policy, kubeconfig, message) in [
            (
                json!({"log": {"enabled": true}}),
                GOOD,
                usual(),
                "spec.audit.policyFrom: is needed",
            ),
            (secret, GOOD, usual(), "spec.audit: policyFrom needs"),
            (
                full(),
                "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: hunter2}]",
                usual(),
                "spec.audit.policyFrom: rules[0].level: must be",
            ),
            (
                full(),
                "hunter2: [",
                usual(),
                "spec.audit.policyFrom: policy: is not",
            ),
            (
                full(),
                GOOD,
                "hunter2: [".into(),
                "kubeconfigFrom: is not a kubeconfig",
            ),
            (
                full(),
                GOOD,
                "hunter2: 1".into(),
                "kubeconfigFrom: its current context",
            ),
            (
                full(),
                GOOD,
                server("http://a"),
                "kubeconfigFrom: its server must be",
            ),
            (
                full(),
                GOOD,
                kubeconfig(
                    &json!({"server": "https://a", "insecure-skip-tls-verify": true}),
                    &json!({}),
                ),
                "kubeconfigFrom: insecure-skip-tls-verify",
            ),
            (
                full(),
                GOOD,
                kubeconfig(
                    &json!({"server": "https://a", "certificate-authority": "/hunter2"}),
                    &json!({}),
                ),
                "kubeconfigFrom: it must hold everything",
            ),
            (
                full(),
                GOOD,
                user(json!({"tokenFile": "/hunter2"})),
                "kubeconfigFrom: it must hold",
            ),
            (
                full(),
                GOOD,
                user(json!({"exec": {"apiVersion": "v1", "command": "hunter2"}})),
                "kubeconfigFrom: it must hold",
            ),
        ] {
            let (refusal, reason) = match with(&audit, policy, &kubeconfig) {
                Ok(validated) => (validated.missing.unwrap(), Reason::ReferenceUnusable),
                Err(refusal) => (refusal, Reason::InvalidSpec),
            };
            assert_eq!(refusal.reason, reason);
            let found = refusal.message;
            assert!(found.contains(message), "{message}: {found}");
            assert!(!found.contains("hunter2"), "{found}");
        }
    }

    #[test]
    fn references_that_lead_nowhere_are_named() {
        let missing = |what: &str| Some(Err(Missing(what.to_owned())));
        let references = References {
            audit_policy: missing("ConfigMap policy is not there"),
            audit_webhook: missing("Secret webhook is not there"),
            ..References::default()
        };
        let proxy = proxy(json!({"audit": full()}));
        let identity = Identity::of(&proxy).unwrap();
        let validated = validate(&proxy, identity, &references, &options()).unwrap();
        assert_eq!(validated.audit, None);
        let refusal = validated.missing.unwrap();
        assert_eq!(refusal.reason, Reason::ReferenceNotFound);
        for what in [
            "policyFrom: ConfigMap policy",
            "kubeconfigFrom: Secret webhook",
        ] {
            assert!(refusal.message.contains(what), "{}", refusal.message);
        }
    }
}
