//! Tells machines what a pass has found.

use oidcproxy_crds::OidcProxyStatus;

use super::{Context, identity::Identity};

/// What is known of the object now.
pub(super) fn measure(context: &Context, identity: &Identity, status: &OidcProxyStatus) {
    let (namespace, name) = (&identity.namespace, &identity.name);
    context.metrics.observe(namespace, name, status);
}
