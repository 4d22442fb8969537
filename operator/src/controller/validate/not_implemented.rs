//! Fields that the API has and that do nothing yet: asking for one is refused, never ignored.

use oidcproxy_crds::OidcProxySpec;

use super::{Findings, Reason};

pub(super) fn check(spec: &OidcProxySpec, findings: &mut Findings) {
    for (index, entry) in spec.authentication.jwt.iter().enumerate() {
        if entry.issuer.egress_selector_type.is_some() {
            let path = format_args!("authentication.jwt[{index}].issuer.egressSelectorType");
            findings.add(Reason::NotImplemented, path, "is not implemented yet");
        }
    }
}
