//! Tells machines what a pass has found.

use oidcproxy_crds::{OidcProxyStatus, v1alpha1::conditions as types};

use super::{Context, identity::Identity, status::is_true};
use crate::metrics::Ends;

/// What is known of the object now.
pub(super) fn measure(context: &Context, identity: &Identity, status: &OidcProxyStatus) {
    let ready = is_true(status, types::READY);
    let ends = status.certificate.as_ref().map(Ends::from);
    context
        .metrics
        .observe(&identity.namespace, &identity.name, ready, ends);
}
