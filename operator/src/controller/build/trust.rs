//! What clients trust, for those in the cluster that mount it.

use k8s_openapi::api::core::v1::ConfigMap;

use crate::controller::identity::{Identity, labels};

pub(super) fn build(identity: &Identity, ca_bundle: &str) -> ConfigMap {
    ConfigMap {
        metadata: identity.child(identity.trust_config_map()),
        data: Some(labels([("ca.crt", ca_bundle)])),
        ..ConfigMap::default()
    }
}
