//! What the proxies run with. Where the spec refers to what cannot be used that is what they have:
//! the settings that were published last, what clients were told to trust, and what the pods mount.

use oidcproxy_crds::v1alpha1::{audit::Audit, settings::Settings};

use super::HTTPS;
use crate::controller::{
    identity::Identity,
    refusal::Refusal,
    validate::audit::{AuditTrail, AuditWebhook},
};

/// What the proxies run with.
#[derive(Clone, Debug)]
pub enum Running {
    /// What the spec asks for.
    Asked(Box<Settings>),
    /// What they have, and why not what the spec asks for.
    LastGood(Box<LastGood>, Refusal),
    /// Nothing yet, and why.
    Nothing(Refusal),
}

/// What the proxies have.
#[derive(Clone, Debug)]
pub struct LastGood {
    /// The settings that were published last.
    pub settings: Settings,
    /// What clients were told to trust.
    pub ca_bundle: Option<String>,
    /// What the pods mount.
    pub mounted: Mounted,
}

/// What pods mount of Secrets that the spec names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Mounted {
    /// The Secret with the certificate; nothing without pods.
    pub serving_secret: Option<String>,
    /// The audit webhook's kubeconfig.
    pub audit_webhook: Option<AuditWebhook>,
    /// The spec's generation that they were made for.
    pub generation: Option<i64>,
}

/// A certificate that somebody else looks after.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Provided {
    /// The Secret with `tls.crt` and `tls.key`.
    pub secret: String,
    /// What clients trust for it; nothing with a public authority.
    pub ca_bundle: Option<String>,
}

impl Running {
    /// The settings, if there are any.
    pub fn settings(&self) -> Option<&Settings> {
        match self {
            Self::Asked(settings) => Some(settings),
            Self::LastGood(last, _) => Some(&last.settings),
            Self::Nothing(_) => None,
        }
    }

    /// Why these are not what the spec asks for.
    pub fn missing(&self) -> Option<&Refusal> {
        match self {
            Self::Asked(_) => None,
            Self::LastGood(_, missing) | Self::Nothing(missing) => Some(missing),
        }
    }

    /// The generation of the spec that all of it comes from.
    pub fn generation(&self, now: i64) -> Option<i64> {
        match self {
            Self::LastGood(last, _) => last.mounted.generation,
            Self::Asked(_) | Self::Nothing(_) => Some(now),
        }
    }

    /// The certificate of somebody else's. A new one waits for the bundle that goes with it.
    pub(super) fn provided(
        &self,
        identity: &Identity,
        asked: Option<String>,
        ca_bundle: Option<String>,
    ) -> Option<Provided> {
        let Self::LastGood(last, _) = self else {
            return asked.map(|secret| Provided { secret, ca_bundle });
        };
        let mounted = last.mounted.serving_secret.clone();
        let secret = mounted.or_else(|| asked.clone())?;
        // A bundle that was read belongs to the Secret that was asked for, and to no other.
        let read = ca_bundle.filter(|_| asked.as_ref() == Some(&secret));
        (secret != identity.serving_secret()).then(|| Provided {
            secret,
            ca_bundle: read.or_else(|| last.ca_bundle.clone()),
        })
    }

    /// Where audit events are sent.
    pub(super) fn audit_webhook(
        &self,
        asked: Option<&Audit>,
        trail: Option<AuditTrail>,
    ) -> Option<AuditWebhook> {
        match self {
            Self::Asked(_) => trail?.webhook,
            Self::Nothing(_) => None,
            Self::LastGood(last, _) => {
                let mount = last.settings.audit.as_ref()?.webhook.as_ref()?;
                // What was read just now and is what was published, nobody knows any better.
                let read = trail.and_then(|trail| trail.webhook);
                let read = read.filter(|webhook| webhook.hash == mount.hash);
                // Without pods there is the spec, and webhooks are https.
                read.or_else(|| last.mounted.audit_webhook.clone())
                    .or_else(|| {
                        let source = &asked?.webhook.as_ref()?.kubeconfig_from;
                        Some(AuditWebhook {
                            secret: source.name.clone(),
                            key: source.key.clone(),
                            hash: mount.hash.clone(),
                            port: HTTPS,
                        })
                    })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::{
        refusal::Reason,
        resolve::{Resolved, resolve, tests::resolved},
        validate::tests::{options, proxy, validated},
    };

    fn webhook(port: i32) -> AuditWebhook {
        AuditWebhook {
            secret: "before".to_owned(),
            key: "config".to_owned(),
            hash: "sha256:1".to_owned(),
            port,
        }
    }

    /// A spec that refers to what is not there, after one that had a webhook.
    fn later(spec: Value, mounted: Mounted) -> Resolved {
        let mut settings = resolved(json!({})).settings().clone();
        let audit = json!({"policy": "{}", "log": false, "webhook": {"mount": "audit-webhook", "hash": "sha256:1"}});
        settings.audit = Some(serde_json::from_value(audit).unwrap());
        let last = LastGood {
            settings,
            ca_bundle: Some("before".to_owned()),
            mounted,
        };
        let missing = Refusal::new(Reason::ReferenceNotFound, "spec.x: not there");
        let mut validated = validated(&proxy(json!({}))).unwrap();
        validated.spec = proxy(spec).spec;
        let running = Running::LastGood(Box::new(last), missing);
        resolve(validated, running, &options())
    }

    fn asking() -> Value {
        json!({
            "serving": {"certificate": {"source": "Secret", "secret": {"name": "new-tls"}}},
            "audit": {
                "policyFrom": {"name": "policy", "key": "policy"},
                "webhook": {"kubeconfigFrom": {"name": "new", "key": "k"}},
            },
            "deployment": {"replicas": 7},
            "kubeconfig": {"issuer": "corp", "clientID": "kubernetes"},
        })
    }

    #[test]
    fn what_pods_have_stays_and_the_rest_is_as_asked() {
        let mounted = Mounted {
            serving_secret: Some("tls".to_owned()),
            audit_webhook: Some(webhook(8443)),
            generation: Some(1),
        };
        let resolved = later(asking(), mounted);
        let expected = Provided {
            secret: "tls".to_owned(),
            ca_bundle: Some("before".to_owned()),
        };
        assert_eq!(resolved.provided, Some(expected));
        assert_eq!(resolved.audit_webhook, Some(webhook(8443)));
        assert_eq!(
            resolved.scaling,
            crate::controller::resolve::Scaling::Fixed(7)
        );
        assert_eq!(resolved.login.unwrap().client_id, "kubernetes");

        let own = Mounted {
            serving_secret: Some("corp-serving".to_owned()),
            audit_webhook: None,
            generation: None,
        };
        assert_eq!(later(asking(), own).provided, None);
    }

    #[test]
    fn without_pods_the_spec_says_what_they_will_mount() {
        let resolved = later(asking(), Mounted::default());
        assert_eq!(resolved.provided.unwrap().secret, "new-tls");
        let webhook = resolved.audit_webhook.unwrap();
        assert_eq!((&*webhook.secret, webhook.port), ("new", 443));
        assert_eq!(webhook.hash, "sha256:1");
        assert_eq!(later(json!({}), Mounted::default()).audit_webhook, None);
    }
}
