//! Somebody else's, in a Secret of the shape that cert-manager writes. The pods mount it as it is;
//! here it is only looked at. A fault is said in the status and changes nothing else: the proxies
//! go on with the last pair that was good, and new settings reach them all the same.

use k8s_openapi::{
    api::core::v1::{Secret, Service},
    jiff::Timestamp,
};
use kube::{Api, Client};
use url::Url;

use super::{Error, Issued, bare, secrets::value};
use crate::{
    controller::{
        apply,
        refusal::{Fault, truncated},
        resolve::{Provided, Resolved},
        status::endpoint,
    },
    pki::{
        leaf::Facts,
        provided::{covers, inspect, is_valid_at, uncovered},
    },
};

/// Looks at the Secret.
pub(super) async fn look(
    client: &Client,
    resolved: &Resolved,
    provided: &Provided,
    service: &Service,
) -> Result<Issued, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &resolved.identity.namespace);
    let secret = apply::get(&api, &provided.secret).await?;
    let names = expected_names(resolved, service);
    let now = Timestamp::now();
    let (facts, fault) = match judge(&provided.secret, secret.as_ref()) {
        Ok(facts) => {
            let fault = doubts(&provided.secret, &facts, &names, now);
            (Some(facts), fault)
        }
        Err(fault) => (None, Some(fault)),
    };
    Ok(Issued {
        ca_bundle: provided.ca_bundle.clone(),
        authorities: None,
        server_name: server_name(resolved, facts.as_ref(), &names),
        facts,
        fault,
    })
}

fn judge(name: &str, secret: Option<&Secret>) -> Result<Facts, Fault> {
    let Some(secret) = secret else {
        let message = format!("Secret {name} is not there");
        return Err(Fault::new("SecretNotFound", message));
    };
    let part = |key| {
        let missing = || Fault::new("Unusable", format!("Secret {name} has no key {key}"));
        value(secret, key).map_err(|_| missing())
    };
    inspect(part("tls.crt")?, part("tls.key")?)
        .map_err(|unusable| Fault::new("Unusable", format!("Secret {name}: {unusable}")))
}

/// What clients will have against a certificate that can be served.
fn doubts(name: &str, facts: &Facts, names: &[String], now: Timestamp) -> Option<Fault> {
    if !is_valid_at(facts, now) {
        let (from, to) = (facts.not_before, facts.not_after);
        let message = format!("the certificate in Secret {name} is valid from {from} to {to}");
        return Some(Fault::new("NotValidNow", message));
    }
    let missing: Vec<&str> = uncovered(facts, names.iter()).into_iter().collect();
    if missing.is_empty() {
        return None;
    }
    let missing = truncated(missing.join(", "));
    let message = format!("the certificate in Secret {name} is not for {missing}");
    Some(Fault::new("NamesNotCovered", message))
}

/// What users reach the proxy by.
fn expected_names(resolved: &Resolved, service: &Service) -> Vec<String> {
    let mut names = resolved.hostnames.clone();
    if names.is_empty() || resolved.external_url.is_some() {
        let url = Url::parse(&endpoint(resolved, service)).ok();
        names.extend(url.and_then(|url| url.host().as_ref().map(bare)));
    }
    names
}

/// The name to ask the Service for.
fn server_name(resolved: &Resolved, facts: Option<&Facts>, names: &[String]) -> String {
    let inside = resolved.identity.service_dns();
    let Some(facts) = facts.filter(|facts| !covers(facts, &inside)) else {
        return inside;
    };
    let covered = names.iter().find(|name| covers(facts, name));
    covered.cloned().unwrap_or(inside)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use rcgen::{CertificateParams, KeyPair};
    use serde_json::json;

    use super::*;
    use crate::controller::resolve::tests::resolved;

    fn secret(names: &[&str]) -> Secret {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let data = [
            ("tls.crt", certificate.pem()),
            ("tls.key", key.serialize_pem()),
        ];
        Secret {
            data: Some(
                data.map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes())))
                    .into(),
            ),
            ..Secret::default()
        }
    }

    #[test]
    fn faults_are_told_apart_and_quote_nothing() {
        assert_eq!(judge("tls", None).unwrap_err().reason, "SecretNotFound");
        let mut mixed = secret(&["a"]);
        let other = secret(&["a"]).data.unwrap();
        let data = mixed.data.as_mut().unwrap();
        data.insert("tls.key".into(), other["tls.key"].clone());
        let fault = judge("tls", Some(&mixed)).unwrap_err();
        assert_eq!(
            fault.message,
            "Secret tls: tls.crt and tls.key do not belong together"
        );
        data_without(&mut mixed, "tls.key");
        let fault = judge("tls", Some(&mixed)).unwrap_err();
        assert_eq!(fault.message, "Secret tls has no key tls.key");
    }

    fn data_without(secret: &mut Secret, key: &str) {
        secret.data.as_mut().unwrap().remove(key);
    }

    #[test]
    fn what_clients_will_object_to_is_said() {
        let facts = judge("tls", Some(&secret(&["k8s.example.com"]))).unwrap();
        let names = |all: &[&str]| -> Vec<String> { all.iter().map(ToString::to_string).collect() };
        let now = Timestamp::now();
        assert_eq!(
            doubts("tls", &facts, &names(&["k8s.example.com"]), now),
            None
        );
        let fault = doubts("tls", &facts, &names(&["other.example.com"]), now).unwrap();
        assert_eq!(fault.reason, "NamesNotCovered");
        assert!(fault.message.ends_with("other.example.com"));
        let late = Facts {
            not_after: facts.not_before,
            ..facts
        };
        assert_eq!(
            doubts("tls", &late, &[], now).unwrap().reason,
            "NotValidNow"
        );
    }

    #[test]
    fn the_service_is_asked_for_a_name_that_the_certificate_has() {
        let resolved = resolved(json!({"serving": {"hostnames": ["k8s.example.com"]}}));
        let names = expected_names(&resolved, &Service::default());
        assert_eq!(names, ["k8s.example.com"]);
        let asked = |given: &[&str]| {
            let facts = judge("tls", Some(&secret(given))).unwrap();
            server_name(&resolved, Some(&facts), &names)
        };
        assert_eq!(asked(&["k8s.example.com"]), "k8s.example.com");
        assert_eq!(asked(&["*.example.com"]), "k8s.example.com");
        assert_eq!(
            asked(&["k8s.example.com", "corp.auth.svc"]),
            "corp.auth.svc"
        );
        assert_eq!(asked(&["other"]), "corp.auth.svc");
    }
}
