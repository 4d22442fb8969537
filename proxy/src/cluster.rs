//! Where kube-apiserver is, and as whom we speak to it: as pods do, or by a kubeconfig.

use std::path::{Path, PathBuf};

use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use crate::first_line::first_line;

/// Why kube-apiserver cannot be found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    /// Not in a pod.
    #[error("no --kubeconfig, and not in a pod: {0}")]
    NotInPod(String),
    /// The file cannot be used.
    #[error("cannot use the kubeconfig {path}: {cause}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// It asks for a way round.
    #[error("cannot use the kubeconfig {0}: proxy-url is not supported")]
    ProxyUrl(PathBuf),
}

/// As the kubeconfig says; without one, as pods do.
pub(crate) async fn config(path: Option<&Path>) -> Result<Config, ClusterError> {
    let Some(path) = path else {
        return Config::incluster().map_err(|error| ClusterError::NotInPod(first_line(&error)));
    };
    let unusable = |cause: KubeconfigError| ClusterError::Kubeconfig {
        path: path.to_owned(),
        cause: first_line(&cause),
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(unusable)?;
    let authority = authority_file(&kubeconfig);
    if cluster_of(&kubeconfig).is_some_and(|cluster| cluster.proxy_url.is_some()) {
        return Err(ClusterError::ProxyUrl(path.to_owned()));
    }
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(unusable)?;
    // Read again and again, as in a pod: who renews the authority writes this file.
    config.root_cert_file = authority;
    Ok(config)
}

/// The file with the authorities of kube-apiserver; none where they are written in the kubeconfig
/// itself, which go first.
fn authority_file(kubeconfig: &Kubeconfig) -> Option<PathBuf> {
    let cluster = cluster_of(kubeconfig)?;
    match &cluster.certificate_authority_data {
        Some(_) => None,
        None => cluster.certificate_authority.clone().map(PathBuf::from),
    }
}

fn cluster_of(kubeconfig: &Kubeconfig) -> Option<&kube::config::Cluster> {
    let current = kubeconfig.current_context.as_ref()?;
    let contexts = &mut kubeconfig.contexts.iter();
    let context = contexts.find(|context| context.name == *current)?;
    let name = &context.context.as_ref()?.cluster;
    let clusters = &mut kubeconfig.clusters.iter();
    let cluster = clusters.find(|cluster| cluster.name == *name)?;
    cluster.cluster.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(cluster: &str) -> Kubeconfig {
        let text = format!(
            "{{current-context: b, \
             contexts: [{{name: a, context: {{cluster: x, user: u}}}}, {{name: b, context: {{cluster: y, user: u}}}}], \
             clusters: [{{name: x, cluster: {{certificate-authority: /x}}}}, {{name: y, cluster: {cluster}}}]}}"
        );
        Kubeconfig::from_yaml(&text).unwrap()
    }

    #[test]
    fn what_is_wrong_does_not_quote_the_file() {
        let error = Kubeconfig::from_yaml("users:\n- name: a\n  user: {token: [secret]}\n");
        let error = error.unwrap_err();
        assert!(error.to_string().contains("secret"));
        assert_eq!(
            first_line(&error),
            "failed to parse kubeconfig YAML: error: line 3 column 17: expected string scalar"
        );
    }

    #[test]
    fn the_authority_of_the_current_cluster_is_followed() {
        let file = authority_file(&kubeconfig("{certificate-authority: /y}"));
        assert_eq!(file, Some(PathBuf::from("/y")));
        let data = "{certificate-authority: /y, certificate-authority-data: YQ==}";
        assert_eq!(authority_file(&kubeconfig(data)), None);
        assert_eq!(authority_file(&kubeconfig("{}")), None);
    }
}
