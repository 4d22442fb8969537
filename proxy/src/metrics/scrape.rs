//! What is looked up when somebody asks for the metrics.

use std::{
    sync::PoisonError,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::encoding::text::encode;

use super::{
    Metrics,
    labels::{IssuerLabel, RevisionLabel},
};

/// What is so just now.
#[derive(Debug, Default)]
pub(crate) struct Present {
    pub(crate) is_ready: bool,
    /// The revision of the settings in use, and since when.
    pub(crate) settings: Option<(String, SystemTime)>,
    /// When the keys of each issuer were last fetched.
    pub(crate) keys: Vec<(String, SystemTime)>,
}

impl Metrics {
    /// In the format that Prometheus reads.
    pub(crate) fn text(&self, present: Present) -> String {
        // Others must not see what is just being replaced.
        let _one_at_a_time = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.ready.set(i64::from(present.is_ready));
        self.settings_info.clear();
        self.settings_taken.set(0);
        if let Some((revision, taken)) = present.settings {
            let label = RevisionLabel { revision };
            self.settings_info.get_or_create(&label).set(1);
            self.settings_taken.set(seconds(taken));
        }
        self.keys_fetched.clear();
        for (issuer, fetched) in present.keys {
            let label = IssuerLabel { issuer };
            self.keys_fetched
                .get_or_create(&label)
                .set(seconds(fetched));
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
