//! See [`crate::internals`].

use std::{path::PathBuf, sync::Arc};

use oidcproxy_crds::v1alpha1;

use super::{Settings, authentication_config, check};
use crate::{
    audit::{AccessLog, AuditBackends},
    metrics::Metrics,
};

/// Reads an `AuthenticationConfiguration` and checks what it says; the settings, or why not.
pub fn read_authentication_configuration(text: &str) -> Result<serde_json::Value, String> {
    serde_json::to_value(&settings(text)?).map_err(|error| error.to_string())
}

fn settings(text: &str) -> Result<v1alpha1::Settings, String> {
    let authentication = authentication_config::parse(text).map_err(|error| error.to_string())?;
    let settings = v1alpha1::Settings {
        authentication,
        ..v1alpha1::Settings::default()
    };
    check(&settings).map_err(|error| error.to_string())?;
    settings.sealed().map_err(|error| error.to_string())
}

/// Verifies tokens as the proxy does, with issuers that are asked for their keys.
#[derive(Debug)]
pub struct RunningAuthenticator(Settings);

impl RunningAuthenticator {
    /// From an `AuthenticationConfiguration`; inside a runtime.
    pub fn start(text: &str) -> Result<Self, String> {
        let metrics = Metrics::new();
        // Nothing is written to it; its thread ends with it.
        let (log, _) = AccessLog::start(Arc::clone(&metrics)).map_err(|error| error.to_string())?;
        let audit = AuditBackends::new(&log, PathBuf::new(), Arc::clone(&metrics));
        Settings::build(settings(text)?, None, &metrics, &audit)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// The username of a token that is good.
    pub async fn authenticate(&self, token: &str) -> Result<String, String> {
        let verified = self.0.authenticator.authenticate(token).await;
        verified
            .map(|verified| verified.identity().username.clone())
            .map_err(|error| error.to_string())
    }
}
