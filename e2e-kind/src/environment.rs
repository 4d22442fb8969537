//! `target/cluster/env`, as the cluster's scripts write it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

const HINT: &str = "run `make cluster images issuer ISSUER=keycloak` first";

/// Where the cluster and its clients are.
#[derive(Clone, Debug)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Reads the file, or the one that `E2E_ENV` names.
    pub fn load() -> Result<Self> {
        let path = std::env::var_os("E2E_ENV")
            .map_or_else(|| repository().join("target/cluster/env"), PathBuf::from);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}: {HINT}", path.display()))?;
        let pairs = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.trim_matches('\'').to_owned()));
        Ok(Self(pairs.collect()))
    }

    /// A value that must be there.
    pub fn get(&self, key: &str) -> &str {
        let value = self.0.get(key).map(String::as_str);
        value.unwrap_or_else(|| panic!("target/cluster/env has no {key}: {HINT}"))
    }
}

/// The checkout.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the checkout")
        .to_owned()
}
