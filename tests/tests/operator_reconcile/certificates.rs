//! Roots that follow each other, and certificates that somebody else looks after.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use oidc_proxy_operator::pki::{authority::Authority, leaf::Leaf};
use oidcproxy_crds::OidcProxy;
use oidcproxy_tests::tls::{self, TestCa};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{
    bed::{Bed, condition},
    tools::{APPS, CORE, merge, settled, wait_event},
};

const YEAR: Duration = Duration::from_hours(24 * 365);

fn secrets(bed: &Bed) -> Api<Secret> {
    Api::namespaced(bed.client.clone(), bed.namespace)
}

async fn text(bed: &Bed, secret: &str, key: &str) -> String {
    let data = secrets(bed).get(secret).await.unwrap().data.unwrap();
    String::from_utf8(data[key].0.clone()).unwrap()
}

fn strings(pairs: &[(&str, &str)]) -> Value {
    let all: BTreeMap<&str, ByteString> = pairs
        .iter()
        .map(|(key, text)| (*key, ByteString(text.as_bytes().to_vec())))
        .collect();
    json!({ "data": all })
}

/// Whether a client that trusts this and nothing else accepts what the Secret serves.
async fn accepts(root: &str, chain: &str, key: &str, name: &str) -> bool {
    let config = tls::Leaf::from_pem(chain, key).unwrap();
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = async {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.is_ok()
    };
    let asking = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connector = tls::connector(root, &[]).unwrap();
        connector.connect(name, stream).await.is_ok()
    };
    tokio::join!(serving, asking).1
}

#[tokio::test]
async fn a_root_that_ends_within_its_overlap_is_followed_by_one_that_it_signs() {
    let bed = Bed::new("t-roots").await;
    bed.apply(json!({})).await;
    settled(&bed).await;
    // A root of ten years, more than nine years ago.
    let now = Timestamp::now();
    let old = Authority::create("corp.auth", 10 * YEAR, now - YEAR * 9 - YEAR / 4).unwrap();
    let aged = strings(&[("ca.crt", old.pem()), ("ca.key", old.key_pem())]);
    merge(&bed, (CORE, "Secret", "corp-ca"), aged).await;
    let renewed = bed
        .wait("the end of the old root", |proxy| {
            previous(proxy) == Some(old.not_after())
        })
        .await;
    wait_event(&bed, "AuthorityRenewed").await;

    let bundle = renewed.status.unwrap().ca_bundle.unwrap();
    let new = text(&bed, "corp-ca", "ca.crt").await;
    assert_eq!(bundle, format!("{new}{}", old.pem()));
    assert_ne!(text(&bed, "corp-ca", "ca.key").await, old.key_pem());
    bed.wait_object((CORE, "ConfigMap", "corp-trust"), |map| {
        map.unwrap()["data"]["ca.crt"] == bundle
    })
    .await;
    let chain = text(&bed, "corp-serving", "tls.crt").await;
    let key = text(&bed, "corp-serving", "tls.key").await;
    let name = format!("corp.{}.svc", bed.namespace);
    for root in [old.pem(), &new, &bundle] {
        assert!(accepts(root, &chain, &key, &name).await, "{root}");
    }
    let stranger = TestCa::new("other").unwrap().pem();
    assert!(!accepts(&stranger, &chain, &key, &name).await);

    // The old root alone is lost: then nothing is left that could sign for it.
    let lost = json!({"data": {"previous.crt": "anVuaw=="}});
    merge(&bed, (CORE, "Secret", "corp-ca"), lost).await;
    let after = bed
        .wait("one root alone", |proxy| previous(proxy).is_none())
        .await;
    assert_eq!(
        after.status.unwrap().ca_bundle.as_deref(),
        Some(new.as_str())
    );
    let chain = text(&bed, "corp-serving", "tls.crt").await;
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 1);

    secrets(&bed)
        .delete("corp-ca", &DeleteParams::default())
        .await
        .unwrap();
    bed.wait("another root", |proxy| {
        proxy.status.clone().unwrap().ca_bundle.as_deref() != Some(new.as_str())
    })
    .await;
    wait_event(&bed, "AuthorityReplaced").await;
}

#[tokio::test]
async fn a_root_that_somebody_swaps_in_is_used_and_told_of() {
    let bed = Bed::new("t-swapped").await;
    bed.apply(json!({})).await;
    settled(&bed).await;
    let year = Duration::from_hours(24 * 365);
    let other = Authority::create("other", 10 * year, Timestamp::now()).unwrap();
    let swapped = strings(&[("ca.crt", other.pem()), ("ca.key", other.key_pem())]);
    merge(&bed, (CORE, "Secret", "corp-ca"), swapped).await;
    bed.wait("its bundle", |proxy| {
        proxy.status.clone().unwrap().ca_bundle.as_deref() == Some(other.pem())
    })
    .await;
    wait_event(&bed, "AuthorityReplaced").await;
}

fn previous(proxy: &OidcProxy) -> Option<Timestamp> {
    let certificate = proxy.status.clone()?.certificate?;
    certificate.previous_authority_not_after.map(|time| time.0)
}

fn serial(proxy: &OidcProxy) -> Option<String> {
    Some(proxy.status.clone()?.certificate?.serial)
}

#[tokio::test]
async fn a_certificate_of_somebody_elses_is_looked_at_and_mounted() {
    let bed = Bed::new("t-provided").await;
    let spec = |prefix: &str| {
        let certificate = json!({"source": "Secret", "secret": {
            "name": "corp-tls", "caBundleFrom": {"configMapKeyRef": {"name": "corp-root", "key": "ca.crt"}},
        }});
        json!({
            "serving": {"hostnames": ["k8s.example.com"], "certificate": certificate},
            "impersonation": {"extra": [{"key": "held", "values": [prefix]}]},
        })
    };
    let ca = TestCa::new("company").unwrap();
    let map = json!({"metadata": {"name": "corp-root"}, "data": {"ca.crt": ca.pem()}});
    let maps: Api<ConfigMap> = Api::namespaced(bed.client.clone(), bed.namespace);
    maps.create(
        &PostParams::default(),
        &serde_json::from_value(map).unwrap(),
    )
    .await
    .unwrap();
    bed.apply(spec("a")).await;
    let waiting = bed
        .wait_condition("ServingCertificateReady", "False", "SecretNotFound")
        .await;
    assert!(condition(&waiting, "Stalled").is_none());

    let pair = |names: &[&str]| ca.server(names).unwrap();
    let first = pair(&["k8s.example.com"]);
    let mut secret = strings(&[("tls.crt", &first.cert_pem), ("tls.key", &first.key_pem)]);
    secret["metadata"] = json!({"name": "corp-tls"});
    secret["type"] = json!("kubernetes.io/tls");
    secrets(&bed)
        .create(
            &PostParams::default(),
            &serde_json::from_value(secret).unwrap(),
        )
        .await
        .unwrap();
    let good = bed
        .wait_condition("ServingCertificateReady", "True", "Issued")
        .await;
    let loaded = Leaf::load(first.cert_pem.as_bytes(), first.key_pem.as_bytes()).unwrap();
    assert_eq!(serial(&good).unwrap(), loaded.facts.serial);
    let status = good.status.clone().unwrap();
    assert_eq!(status.ca_bundle.unwrap().trim(), ca.pem().trim());
    assert!(status.certificate.unwrap().authority_not_after.is_none());
    let deployment = bed
        .wait_object((APPS, "Deployment", "corp"), |found| found.is_some())
        .await;
    let volume = &deployment["spec"]["template"]["spec"]["volumes"][0]["secret"];
    assert_eq!(volume["secretName"], "corp-tls");
    assert!(secrets(&bed).get_opt("corp-ca").await.unwrap().is_none());

    // A key of another certificate: the last good pair is what serves, and settings still pass.
    let other = pair(&["k8s.example.com"]);
    let swapped = strings(&[("tls.key", &other.key_pem)]);
    merge(&bed, (CORE, "Secret", "corp-tls"), swapped).await;
    bed.wait_condition("ServingCertificateReady", "False", "Unusable")
        .await;
    let before = good.status.clone().unwrap().settings.unwrap().revision;
    bed.apply(spec("b")).await;
    let later = bed
        .wait("new settings", |proxy| {
            let settings = proxy.status.clone().unwrap().settings.unwrap();
            settings.revision != before
        })
        .await;
    assert_eq!(serial(&later), serial(&good));

    let elsewhere = pair(&["other.example.com"]);
    let renewed = strings(&[
        ("tls.crt", &elsewhere.cert_pem),
        ("tls.key", &elsewhere.key_pem),
    ]);
    merge(&bed, (CORE, "Secret", "corp-tls"), renewed).await;
    bed.wait_condition("ServingCertificateReady", "False", "NamesNotCovered")
        .await;

    // A public authority needs no bundle, and none is published.
    let mut public = spec("b");
    public["serving"]["certificate"]["secret"] = json!({"name": "corp-tls"});
    bed.apply(public).await;
    bed.wait("no bundle", |proxy| {
        proxy.status.clone().unwrap().ca_bundle.is_none()
    })
    .await;
    bed.wait_object((CORE, "ConfigMap", "corp-trust"), |found| found.is_none())
        .await;
}

#[tokio::test]
async fn certificates_follow_names_and_damage() {
    let bed = Bed::new("t-names").await;
    bed.apply(json!({})).await;
    let first = settled(&bed).await.status.unwrap();
    let key = text(&bed, "corp-serving", "tls.key").await;

    bed.apply(json!({"serving": {"hostnames": ["new.example.com"]}}))
        .await;
    let serial = |proxy: &OidcProxy| proxy.status.clone().unwrap().certificate.unwrap().serial;
    let old = first.certificate.unwrap().serial;
    let second = bed
        .wait("a new certificate", |proxy| serial(proxy) != old)
        .await;
    assert_eq!(second.status.clone().unwrap().ca_bundle, first.ca_bundle);
    assert_ne!(text(&bed, "corp-serving", "tls.key").await, key);

    let junk = json!({"data": {"tls.crt": "anVuaw=="}});
    merge(&bed, (CORE, "Secret", "corp-serving"), junk).await;
    let old = serial(&second);
    let third = bed
        .wait("a certificate again", |proxy| serial(proxy) != old)
        .await;
    assert_eq!(third.status.clone().unwrap().ca_bundle, first.ca_bundle);

    let junk = json!({"data": {"ca.key": "anVuaw=="}});
    merge(&bed, (CORE, "Secret", "corp-ca"), junk).await;
    let old = serial(&third);
    let fourth = bed.wait("a new root", |proxy| serial(proxy) != old).await;
    let bundle = fourth.status.unwrap().ca_bundle;
    assert_ne!(bundle, first.ca_bundle);
    // The status speaks first: what is mounted follows in the same pass.
    bed.wait_object((CORE, "ConfigMap", "corp-trust"), |found| {
        found.is_some_and(|trust| trust["data"]["ca.crt"].as_str() == bundle.as_deref())
    })
    .await;
    wait_event(&bed, "CertificateIssued").await;
}

#[tokio::test]
async fn while_the_spec_is_refused_the_certificate_is_looked_after() {
    let bed = Bed::new("t-upkeep").await;
    bed.apply(json!({"serving": {"hostnames": ["k8s.example.com"]}}))
        .await;
    let good = settled(&bed).await;
    bed.apply(json!({"deployment": {"image": "other:1"}})).await;
    bed.wait_condition("Stalled", "True", "InvalidSpec").await;
    let api = secrets(&bed);
    let params = DeleteParams::default();
    api.delete("corp-serving", &params).await.unwrap();
    let renewed = bed
        .wait("the certificate that has come back", |proxy| {
            serial(proxy) != serial(&good)
        })
        .await;
    let chain = text(&bed, "corp-serving", "tls.crt").await;
    let key = text(&bed, "corp-serving", "tls.key").await;
    let leaf = Leaf::load(chain.as_bytes(), key.as_bytes()).unwrap();
    assert_eq!(serial(&renewed).unwrap(), leaf.facts.serial);
    let root = good.status.unwrap().ca_bundle.unwrap();
    for name in ["k8s.example.com", "corp.t-upkeep.svc"] {
        assert!(accepts(&root, &chain, &key, name).await, "{name}");
    }
    assert!(condition(&renewed, "Stalled").is_some());
}
