//! The revision of settings, and the strict way to read them back.
//!
//! A CRD that is older than the operator prunes fields that it does not know, without a word. So
//! a proxy recomputes the hash over what it decoded: settings that lost a field on the way, or
//! carry one that this proxy does not know, are never used.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

use super::settings::{FORMAT_VERSION, Settings};

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Not of the expected shape.
    #[error("settings cannot be decoded: {0}")]
    Decode(#[from] serde_json::Error),
    /// Of a format that this code does not read.
    #[error("settings have format version {found}, this proxy reads {FORMAT_VERSION}")]
    Format {
        /// The version found.
        found: u32,
    },
    /// They hold something that this code does not know.
    #[error("settings hold fields that this proxy does not know")]
    UnknownField,
    /// They are not what was published.
    #[error(
        "settings do not match their revision {claimed}: something was lost or changed on the way"
    )]
    Revision {
        /// The revision that they claim.
        claimed: String,
    },
}

impl Settings {
    /// `sha256:` and the hash over all fields but the revision itself.
    pub fn compute_revision(&self) -> Result<String, serde_json::Error> {
        let unsigned = Self {
            revision: String::new(),
            ..self.clone()
        };
        let content = serde_json::to_vec(&unsigned)?;
        Ok(format!("sha256:{}", hex::encode(digest(&SHA256, &content))))
    }

    /// These settings with [`FORMAT_VERSION`] and their revision filled in.
    pub fn sealed(mut self) -> Result<Self, serde_json::Error> {
        self.format_version = FORMAT_VERSION;
        self.revision = self.compute_revision()?;
        Ok(self)
    }

    /// Reads settings strictly: known format, no unknown field, matching revision.
    pub fn decode(raw: &Value) -> Result<Self, SettingsError> {
        let format = raw.get("formatVersion").and_then(Value::as_u64);
        if let Some(found) = format.and_then(|version| u32::try_from(version).ok())
            && found != FORMAT_VERSION
        {
            return Err(SettingsError::Format { found });
        }
        let settings: Self = serde_json::from_value(raw.clone())?;
        if serde_json::to_value(&settings)? != *raw {
            return Err(SettingsError::UnknownField);
        }
        if settings.compute_revision()? != settings.revision {
            return Err(SettingsError::Revision {
                claimed: settings.revision,
            });
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::v1alpha1::settings::IssuerSettings;

    fn sealed() -> Settings {
        let mut settings = Settings::default();
        settings.authentication.issuers.push(IssuerSettings {
            name: "corp".into(),
            url: "https://id.example.com".into(),
            audiences: vec!["kubernetes".into()],
            ..IssuerSettings::default()
        });
        settings.sealed().unwrap()
    }

    #[test]
    fn what_was_sealed_is_read_back() {
        let settings = sealed();
        let raw = serde_json::to_value(&settings).unwrap();
        assert_eq!(Settings::decode(&raw).unwrap(), settings);
    }

    #[test]
    fn a_pruned_field_is_noticed() {
        let mut raw = serde_json::to_value(sealed()).unwrap();
        raw["authentication"]["issuers"] = json!([]);
        assert!(matches!(
            Settings::decode(&raw),
            Err(SettingsError::Revision { .. })
        ));
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let mut raw = serde_json::to_value(sealed()).unwrap();
        raw["authentication"]["anyone"] = json!(true);
        assert!(matches!(
            Settings::decode(&raw),
            Err(SettingsError::UnknownField)
        ));
    }

    #[test]
    fn another_format_is_refused_before_anything_else() {
        assert!(matches!(
            Settings::decode(&json!({"formatVersion": 2, "whatever": 1})),
            Err(SettingsError::Format { found: 2 })
        ));
    }
}
