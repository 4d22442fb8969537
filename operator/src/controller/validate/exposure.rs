//! Routes from outside: they are chosen by the name that a client asks for.

use std::net::IpAddr;

use oidcproxy_crds::OidcProxySpec;

use super::Findings;

pub(super) fn check(spec: &OidcProxySpec, findings: &mut Findings) {
    let Some(exposure) = &spec.exposure else {
        return;
    };
    let hostnames = spec.serving.iter().flat_map(|serving| &serving.hostnames);
    let named = hostnames
        .filter(|name| name.parse::<IpAddr>().is_err())
        .count()
        > 0;
    let asked = [
        ("exposure.gateway", exposure.gateway.is_some()),
        ("exposure.ingress", exposure.ingress.is_some()),
    ];
    for (path, _) in asked.iter().filter(|(_, asked)| *asked && !named) {
        let message = "needs a DNS name in spec.serving.hostnames: that is what routes go by";
        findings.invalid(path, message);
    }
    if let Some(ingress) = &exposure.ingress
        && ingress.annotations.is_empty()
    {
        let message = "must say how your controller passes TLS through";
        findings.invalid("exposure.ingress.annotations", message);
    }
}
