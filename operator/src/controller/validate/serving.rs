//! The serving port: its names and the lifetimes of its certificates.

use std::{net::IpAddr, time::Duration};

use oidcproxy_crds::{
    dns_name::is_label,
    v1alpha1::{
        network::Network,
        serving::{ProxyProtocol, SecretCertificate, SelfIssued, Serving},
        settings::MAX_CERTIFICATE_AUTHORITY_BYTES,
    },
};
use url::Url;

use super::{Findings, Reason, durations::is_duration};
use crate::{
    controller::{
        dereference::{Missing, References},
        identity::Identity,
        resolve::lifetimes,
    },
    pki::pem,
};

/// The shortest life of a certificate.
const MIN_DURATION: Duration = Duration::from_hours(1);
/// The shortest time between a renewal and the end.
const MIN_RENEW_BEFORE: Duration = Duration::from_mins(5);
/// The longest life of anything; beyond it dates no longer fit into certificates.
const MAX_DURATION: Duration = Duration::from_hours(24 * 365 * 100);

/// What clients trust for a certificate of somebody else's.
pub(super) fn check(
    serving: Option<&Serving>,
    identity: &Identity,
    references: &References,
    findings: &mut Findings,
) -> Option<String> {
    let serving = serving?;
    for (index, hostname) in serving.hostnames.iter().enumerate() {
        if !is_hostname(hostname) {
            let path = format_args!("serving.hostnames[{index}]");
            findings.invalid(path, "must be a lower-case DNS name or an IP address");
        }
    }
    for (index, network) in serving.trusted_proxies.iter().enumerate() {
        if let Err(error) = network.parse::<Network>() {
            findings.invalid(format_args!("serving.trustedProxies[{index}]"), error);
        }
    }
    if serving.proxy_protocol == Some(ProxyProtocol::Required) && serving.trusted_proxies.is_empty()
    {
        let message = "Required needs trustedProxies: nobody else is believed";
        findings.invalid("serving.proxyProtocol", message);
    }
    if let Some(url) = &serving.external_url
        && !is_plain_https(url)
    {
        let message = "must be an https URL without user information, query and fragment";
        findings.invalid("serving.externalURL", message);
    }
    let certificate = serving.certificate.as_ref()?;
    if let Some(issued) = &certificate.self_issued {
        check_lifetimes(issued, findings);
    }
    check_secret(certificate.secret.as_ref()?, identity, findings);
    ca_bundle(references, findings)
}

fn check_secret(secret: &SecretCertificate, identity: &Identity, findings: &mut Findings) {
    let own = [identity.serving_secret(), identity.authority_secret()];
    if own.contains(&secret.name) {
        let message = "is a name of the operator's own Secrets";
        findings.invalid("serving.certificate.secret.name", message);
    }
}

fn ca_bundle(references: &References, findings: &mut Findings) -> Option<String> {
    let path = "serving.certificate.secret.caBundleFrom";
    match references.ca_bundle.as_ref()? {
        Err(Missing(what)) => findings.missing(Reason::ReferenceNotFound, path, what),
        Ok(content) => match pem::reencode_certificates(content) {
            Ok(bundle) if bundle.len() > MAX_CERTIFICATE_AUTHORITY_BYTES => {
                let message = format_args!(
                    "more than {MAX_CERTIFICATE_AUTHORITY_BYTES} bytes of certificates"
                );
                findings.missing(Reason::SettingsTooLarge, path, message);
            }
            Ok(bundle) => return Some(bundle),
            Err(error) => findings.unusable(path, error),
        },
    }
    None
}

/// The rules hold with the defaults filled in, here as in the CRD; an older one has let other lifetimes through.
fn check_lifetimes(issued: &SelfIssued, findings: &mut Findings) {
    let path = "serving.certificate.selfIssued";
    let authority = issued.authority.as_ref();
    let given = [
        ("duration", issued.duration.as_ref()),
        ("renewBefore", issued.renew_before.as_ref()),
        (
            "authority.duration",
            authority.and_then(|value| value.duration.as_ref()),
        ),
        (
            "authority.overlap",
            authority.and_then(|value| value.overlap.as_ref()),
        ),
    ];
    let mut sane = true;
    for (field, value) in given {
        let path = format!("{path}.{field}");
        let bounds = (Duration::ZERO..=MAX_DURATION, "between 0 and 100 years");
        sane &= is_duration(value, &path, bounds, findings);
    }
    if !sane {
        return;
    }
    let all = lifetimes(Some(issued));
    let mut rule = |holds: bool, field: &str, message: &str| {
        if !holds {
            findings.invalid(format_args!("{path}.{field}"), message);
        }
    };
    rule(all.leaf >= MIN_DURATION, "duration", "must be at least 1h");
    rule(
        all.renew_before >= MIN_RENEW_BEFORE,
        "renewBefore",
        "must be at least 5m",
    );
    rule(
        all.renew_before < all.leaf,
        "renewBefore",
        "must be shorter than duration (2160h unless set)",
    );
    rule(
        all.authority >= all.leaf,
        "authority.duration",
        "must not be shorter than duration (2160h unless set)",
    );
    rule(
        all.overlap <= all.authority / 2,
        "authority.overlap",
        "must be at most half of authority.duration (87600h unless set)",
    );
}

fn is_hostname(name: &str) -> bool {
    if name.parse::<IpAddr>().is_ok() {
        return true;
    }
    // All digits in the last label: an address with a mistake in it, not a name.
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(is_label) && !last.chars().all(|c| c.is_ascii_digit())
}

fn is_plain_https(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "\\@?#".contains(c);
    Url::parse(text).is_ok_and(|url| url.scheme() == "https" && url.has_host())
        && text.starts_with("https://")
        && !text.starts_with("https:///")
        && !text.chars().any(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostnames_are_names_or_addresses() {
        for fine in [
            "k8s.example.com",
            "a",
            "10.0.0.1",
            "fd00::1",
            "xn--bcher-kva.example",
        ] {
            assert!(is_hostname(fine), "{fine}");
        }
        for wrong in [
            "",
            "*.example.com",
            "A.example",
            "1.2.3",
            "1.2.3.4.5",
            "-a",
            "a..b",
            "a_b",
            "1:2",
        ] {
            assert!(!is_hostname(wrong), "{wrong}");
        }
        assert!(!is_hostname(&"a".repeat(64)));
    }

    #[test]
    fn external_urls() {
        assert!(is_plain_https("https://k8s.example.com:8443/base"));
        for wrong in [
            "http://a",
            "https://",
            "https://u@a",
            "https://a?x",
            "https://a#x",
            "https:///a",
            "https://a b",
        ] {
            assert!(!is_plain_https(wrong), "{wrong}");
        }
    }
}
