//! Settings from an `AuthenticationConfiguration` file, read again when it changes.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use oidcproxy_crds::v1alpha1;

use super::{
    SettingsError, SettingsStore,
    authentication_config::{self, AuthenticationConfigError},
};

/// Files of volumes change by a symbolic link; looking at the content sees every kind of change.
const LOOK: Duration = Duration::from_secs(1);

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It cannot be read.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// It is not a valid configuration.
    #[error("{path}: {cause}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: AuthenticationConfigError,
    },
    /// Its content cannot be served with.
    #[error("{path}: {cause}")]
    Settings {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: SettingsError,
    },
}

/// Publishes the file's settings; a first file that is no good is an error, a later one is logged
/// and the settings stay.
pub(crate) async fn follow_file(
    path: PathBuf,
    base: v1alpha1::Settings,
    store: Arc<SettingsStore>,
) -> Result<(), FileError> {
    let mut text = read(&path).await?;
    publish(&path, &text, &base, &store)?;
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK).await;
            match read(&path).await {
                Ok(newer) if newer != text => {
                    text = newer;
                    if let Err(error) = publish(&path, &text, &base, &store) {
                        tracing::error!(%error, "the last good configuration stays in use");
                    }
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the last good configuration stays in use"),
            }
        }
    });
    Ok(())
}

async fn read(path: &Path) -> Result<String, FileError> {
    tokio::fs::read_to_string(path)
        .await
        .map_err(|cause| FileError::Read {
            path: path.to_owned(),
            cause,
        })
}

fn publish(
    path: &Path,
    text: &str,
    base: &v1alpha1::Settings,
    store: &Arc<SettingsStore>,
) -> Result<(), FileError> {
    let mut parsed = authentication_config::parse(text).map_err(|cause| FileError::Parse {
        path: path.to_owned(),
        cause,
    })?;
    parsed
        .reserved_prefixes
        .clone_from(&base.authentication.reserved_prefixes);
    parsed
        .allowed_reserved_groups
        .clone_from(&base.authentication.allowed_reserved_groups);
    parsed
        .disallowed_issuers
        .clone_from(&base.authentication.disallowed_issuers);
    parsed
        .token_passthrough
        .clone_from(&base.authentication.token_passthrough);
    parsed
        .http_proxy
        .clone_from(&base.authentication.http_proxy);
    let settings = v1alpha1::Settings {
        authentication: parsed,
        ..base.clone()
    };
    settings
        .sealed()
        .map_err(|error| SettingsError::Decode(error.into()))
        .and_then(|sealed| store.publish(sealed))
        .map_err(|cause| FileError::Settings {
            path: path.to_owned(),
            cause,
        })
}
