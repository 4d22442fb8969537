//! What the operator was told by flags.

use std::collections::{BTreeMap, BTreeSet};

/// What the operator was told by flags.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where `OidcProxy` objects are honoured.
    pub namespaces: Namespaces,
    /// The image of the proxies.
    pub proxy_image: String,
    /// When nodes pull it.
    pub image_pull_policy: Option<String>,
    /// The domain of the cluster's DNS.
    pub cluster_domain: String,
    /// Whether an `OidcProxy` may choose its image.
    pub allow_image_override: bool,
    /// Where the operator runs.
    pub operator_namespace: String,
    /// The labels of its pods.
    pub operator_pod_labels: BTreeMap<String, String>,
}

/// Where `OidcProxy` objects are honoured: whoever may create one has the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Namespaces {
    /// Everywhere.
    All,
    /// In these.
    Listed(BTreeSet<String>),
}

impl Namespaces {
    /// Whether objects of this namespace are honoured.
    pub fn allows(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Listed(names) => names.contains(namespace),
        }
    }
}
