//! Whether new requests are welcome.

use std::sync::Arc;

use crate::{drain::Drain, settings::SettingsStore};

/// Whether new requests are welcome.
#[derive(Clone, Debug)]
pub(crate) struct Readiness {
    settings: Arc<SettingsStore>,
    drain: Drain,
}

impl Readiness {
    pub(crate) fn new(settings: Arc<SettingsStore>, drain: Drain) -> Self {
        Self { settings, drain }
    }

    /// There are settings, every issuer of the first ones has been tried, and we are not leaving.
    /// An issuer that is down does not make us unready: the others' users would be locked out.
    pub(crate) fn is_ready(&self) -> bool {
        self.settings.is_warm() && !self.drain.leaving.is_cancelled()
    }
}
