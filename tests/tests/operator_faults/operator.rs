//! Operators in this process, which can be killed.

use std::{collections::BTreeMap, sync::Arc, thread};

use oidc_proxy_operator::{
    controller::{
        Context,
        options::{Namespaces, Options},
        watch,
    },
    events::Events,
    metrics::Metrics,
};
use tokio::sync::oneshot;

use crate::bed::{Bed, HOME};

/// An operator on a thread of its own; dropping it is its death, whatever it was at.
pub(crate) struct Operator {
    pub(crate) metrics: Metrics,
    kill: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Operator {
    pub(crate) fn start(bed: &Bed) -> Self {
        Self::start_in(bed, bed.namespace)
    }

    /// One that honours this namespace alone.
    pub(crate) fn start_in(bed: &Bed, namespace: &'static str) -> Self {
        Self::start_with(bed, namespace, "proxy:test")
    }

    /// One whose proxies are of this image.
    pub(crate) fn start_with(bed: &Bed, namespace: &'static str, image: &'static str) -> Self {
        let metrics = Metrics::default();
        let shown = metrics.clone();
        let (kill, killed) = oneshot::channel();
        let (api, token) = (bed.api.clone(), bed.token.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let client = api.client(&token).await.unwrap();
                let options = Options {
                    namespaces: Namespaces::Listed([namespace.to_owned()].into()),
                    proxy_image: image.into(),
                    image_pull_policy: None,
                    cluster_domain: "cluster.local".into(),
                    allow_image_override: false,
                    operator_namespace: HOME.into(),
                    operator_pod_labels: BTreeMap::new(),
                };
                let events = Events::new(client.clone(), "test");
                let context = Context::new(client, options, events, metrics);
                let running = watch::run(
                    Arc::new(context),
                    tokio_util::sync::CancellationToken::new(),
                );
                tokio::select! {
                    () = running => {}
                    _ = killed => {}
                }
            });
        });
        Self {
            metrics: shown,
            kill: Some(kill),
            thread: Some(thread),
        }
    }

    /// How many passes have ended, well or not.
    pub(crate) fn passes(&self) -> u64 {
        let text = self.metrics.encode();
        let lines = text.lines();
        lines
            .filter(|line| line.starts_with("oidc_proxy_operator_reconciles_total{"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        drop(self.kill.take());
        if let Some(operator) = self.thread.take() {
            let ended = operator.join();
            assert!(
                ended.is_ok() || thread::panicking(),
                "the operator panicked"
            );
        }
    }
}
