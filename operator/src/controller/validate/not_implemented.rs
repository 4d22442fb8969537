//! Fields that the API has and that do nothing yet: asking for one is refused, never ignored.

use oidcproxy_crds::{
    OidcProxySpec,
    v1alpha1::authentication::{Authentication, HttpProxy, JwtAuthenticator},
};

use super::{Findings, Reason};
use crate::controller::options::Options;

pub(super) fn check(spec: &OidcProxySpec, options: &Options, findings: &mut Findings) {
    authentication(&spec.authentication, findings);
    let deployment = spec.deployment.as_ref();
    if deployment.is_some_and(|given| given.image.is_some()) && !options.allow_image_override {
        let message = "needs an operator that runs with --allow-image-override";
        findings.add(Reason::NotImplemented, "deployment.image", message);
    }
}

fn refuse(findings: &mut Findings, asked: bool, path: &str) {
    if asked {
        findings.add(Reason::NotImplemented, path, "is not implemented yet");
    }
}

/// Whether something is asked for: an empty object asks for nothing.
fn differs<T: PartialEq>(given: Option<&T>, nothing: &T) -> bool {
    given.is_some_and(|value| value != nothing)
}

fn authentication(authentication: &Authentication, findings: &mut Findings) {
    for (index, entry) in authentication.jwt.iter().enumerate() {
        jwt(entry, index, findings);
    }
    let mut refuse = |asked: bool, path: &str| refuse(findings, asked, path);
    refuse(
        differs(authentication.http_proxy.as_ref(), &HttpProxy::default()),
        "authentication.httpProxy",
    );
}

fn jwt(entry: &JwtAuthenticator, index: usize, findings: &mut Findings) {
    let mut refuse = |asked: bool, path: &str| {
        refuse(
            findings,
            asked,
            &format!("authentication.jwt[{index}].{path}"),
        );
    };
    refuse(
        entry.issuer.egress_selector_type.is_some(),
        "issuer.egressSelectorType",
    );
}
