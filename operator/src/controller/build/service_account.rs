//! Who the pods are.

use k8s_openapi::api::core::v1::ServiceAccount;

use crate::controller::identity::Identity;

pub(super) fn build(identity: &Identity) -> ServiceAccount {
    ServiceAccount {
        metadata: identity.child(&identity.name),
        // Such a token lives for a year; the Deployment projects one of ten minutes.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
