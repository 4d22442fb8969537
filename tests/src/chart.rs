//! The operator's chart as Helm renders it: the tests run with its rights and its policies, not with a copy of them.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use kube::{
    Api, Client, Discovery,
    api::{DynamicObject, Patch, PatchParams},
    discovery::Scope,
    runtime::wait::{await_condition, conditions::is_crd_established},
};

/// Rendered objects of a release.
#[derive(Clone, Debug)]
pub struct Chart(Vec<DynamicObject>);

/// The programs that tests with a control plane use.
pub fn assets() -> Result<PathBuf> {
    std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from).context(
        "KUBEBUILDER_ASSETS is not set: run `export KUBEBUILDER_ASSETS=$(e2e-kind/cluster/control-plane.sh assets)` first",
    )
}

/// The checkout.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

impl Chart {
    /// Renders a release of this name in `namespace`, with these values (`--set` arguments).
    pub fn render(release: &str, namespace: &str, values: &[&str]) -> Result<Self> {
        let chart = repository().join("charts/oidc-proxy-operator");
        let mut helm = Command::new(assets()?.join("helm"));
        helm.args(["template", release])
            .arg(chart)
            .args(["--namespace", namespace]);
        for value in values {
            helm.args(["--set", value]);
        }
        // Whatever cluster is configured on this machine is not asked.
        let output = helm
            .env("KUBECONFIG", "/dev/null")
            .output()
            .context("helm")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "helm template: {error}");
        let text = String::from_utf8(output.stdout)?;
        let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text)?;
        let objects = documents.into_iter().filter(|document| !document.is_null());
        let objects = objects
            .map(serde_json::from_value)
            .collect::<Result<_, _>>()?;
        Ok(Self(objects))
    }

    /// Applies the objects of these kinds as the administrator. A definition comes first, and is in use when this returns.
    pub async fn apply(&self, admin: &Client, kinds: &[&str]) -> Result<()> {
        let discovery = Discovery::new(admin.clone()).run().await?;
        for object in &self.0 {
            let types = object.types.clone().context("an object without a kind")?;
            if !kinds.contains(&types.kind.as_str()) {
                continue;
            }
            let name = object
                .metadata
                .name
                .clone()
                .context("an object without a name")?;
            let gvk = kube::core::GroupVersionKind::try_from(&types)?;
            let Some((resource, capabilities)) = discovery.resolve_gvk(&gvk) else {
                bail!("the API server does not know {gvk:?}");
            };
            let api: Api<DynamicObject> = match (capabilities.scope, &object.metadata.namespace) {
                (Scope::Namespaced, Some(namespace)) => {
                    Api::namespaced_with(admin.clone(), namespace, &resource)
                }
                _ => Api::all_with(admin.clone(), &resource),
            };
            let params = PatchParams::apply("helm").force();
            api.patch(&name, &params, &Patch::Apply(object))
                .await
                .with_context(|| format!("{} {name}", types.kind))?;
            if types.kind == "CustomResourceDefinition" {
                let waiting = await_condition(Api::all(admin.clone()), &name, is_crd_established());
                tokio::time::timeout(Duration::from_mins(1), waiting).await??;
            }
        }
        Ok(())
    }
}
