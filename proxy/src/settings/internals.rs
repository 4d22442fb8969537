//! See [`crate::internals`].

use oidcproxy_crds::v1alpha1;

use super::{authentication_config, check};

/// Reads an `AuthenticationConfiguration` and checks what it says; the settings, or why not.
pub fn read_authentication_configuration(text: &str) -> Result<serde_json::Value, String> {
    let authentication = authentication_config::parse(text).map_err(|error| error.to_string())?;
    let settings = v1alpha1::Settings {
        authentication,
        ..v1alpha1::Settings::default()
    };
    check(&settings).map_err(|error| error.to_string())?;
    let sealed = settings.sealed().map_err(|error| error.to_string())?;
    serde_json::to_value(&sealed).map_err(|error| error.to_string())
}
