//! What the pods that take requests say of themselves.

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use oidcproxy_crds::{
    state::{IssuerReport, IssuerState, ProxyState},
    v1alpha1::status::IssuerStatus,
};

use super::{probe::Probe, slices};
use crate::controller::{apply::Error, identity::Identity};

/// As many pods are asked at a time.
const CONCURRENCY: usize = 16;

/// What the pods that take requests say of themselves.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pods {
    /// By pod; nothing where none came back.
    pub states: BTreeMap<String, Option<ProxyState>>,
}

impl Pods {
    /// Asks every pod that the Service's slices call ready.
    pub async fn observe(
        client: &Client,
        identity: &Identity,
        probe: &Probe,
    ) -> Result<Self, Error> {
        let slices = slices(client, &identity.namespace, &identity.name).await?;
        let addresses = ready_addresses(&slices);
        let states = stream::iter(addresses)
            .map(|(pod, address)| async move {
                let mut state = probe.state(&address).await;
                if state.is_err() {
                    // A lost packet is no reason to call a proxy out of date.
                    state = probe.state(&address).await;
                }
                if let Err(error) = &state {
                    tracing::debug!(
                        pod,
                        address,
                        error = error as &dyn std::error::Error,
                        "no state"
                    );
                }
                (pod, state.ok())
            })
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        Ok(Self { states })
    }

    /// How many take requests.
    pub fn ready(&self) -> i32 {
        i32::try_from(self.states.len()).unwrap_or(i32::MAX)
    }

    /// How many of them run these settings with this certificate.
    pub fn current(&self, revision: &str, serial: &str) -> i32 {
        let current = self
            .reports()
            .filter(|state| {
                state.revision.as_deref() == Some(revision)
                    && state.certificate_serial.as_deref() == Some(serial)
            })
            .count();
        i32::try_from(current).unwrap_or(i32::MAX)
    }

    /// Whether every pod that takes requests runs these settings.
    pub fn all_have(&self, revision: &str) -> bool {
        !self.states.is_empty()
            && self.states.values().all(|state| {
                state
                    .as_ref()
                    .is_some_and(|state| state.revision.as_deref() == Some(revision))
            })
    }

    /// Whether any answers with some settings.
    pub fn any_serves(&self) -> bool {
        self.reports().any(|state| state.revision.is_some())
    }

    /// Whether any has said anything.
    pub fn has_reports(&self) -> bool {
        self.reports().next().is_some()
    }

    /// What a pod has against the newest settings.
    pub fn settings_error(&self) -> Option<&str> {
        self.reports()
            .find_map(|state| state.settings_error.as_deref())
    }

    /// For each issuer, the worst that a pod says; `Pending` where none says anything.
    pub fn issuers<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<IssuerStatus> {
        names
            .map(|name| {
                let worst = self
                    .reports()
                    .flat_map(|state| &state.issuers)
                    .filter(|issuer| issuer.name == name)
                    .max_by_key(|issuer| issuer.state);
                match worst {
                    Some(IssuerReport { state, message, .. }) => IssuerStatus {
                        name: name.to_owned(),
                        state: *state,
                        message: message.clone().map(crate::controller::refusal::truncated),
                    },
                    None => IssuerStatus {
                        name: name.to_owned(),
                        state: IssuerState::Pending,
                        message: None,
                    },
                }
            })
            .collect()
    }

    fn reports(&self) -> impl Iterator<Item = &ProxyState> {
        self.states.values().flatten()
    }
}

/// One address for each ready pod; with two families a pod stands in two slices.
fn ready_addresses(slices: &[EndpointSlice]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for endpoint in slices.iter().flat_map(|slice| &slice.endpoints) {
        let ready = endpoint
            .conditions
            .as_ref()
            .and_then(|conditions| conditions.ready);
        let Some(address) = endpoint.addresses.first() else {
            continue;
        };
        if ready.unwrap_or(true) {
            let target = endpoint
                .target_ref
                .as_ref()
                .and_then(|target| target.name.clone());
            found
                .entry(target.unwrap_or_else(|| address.clone()))
                .or_insert_with(|| address.clone());
        }
    }
    found
}

#[cfg(test)]
pub(in crate::controller) mod tests {
    use serde_json::json;

    use super::*;

    pub(in crate::controller) fn state(
        revision: &str,
        serial: &str,
        issuer: IssuerState,
    ) -> ProxyState {
        ProxyState {
            format_version: 1,
            revision: Some(revision.into()),
            certificate_serial: Some(serial.into()),
            issuers: vec![IssuerReport {
                name: "corp".into(),
                state: issuer,
                message: None,
            }],
            ..ProxyState::default()
        }
    }

    pub(in crate::controller) fn pods(states: Vec<Option<ProxyState>>) -> Pods {
        Pods {
            states: (0..).map(|n| format!("corp-{n}")).zip(states).collect(),
        }
    }

    #[test]
    fn a_pod_counts_once_and_only_when_ready() {
        let endpoint = |pod: &str, address: &str, ready| json!({"addresses": [address], "conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "name": pod}});
        let slices: Vec<EndpointSlice> = serde_json::from_value(json!([
            {"addressType": "IPv4", "endpoints": [endpoint("a", "10.1.0.1", true), endpoint("b", "10.1.0.2", false)]},
            {"addressType": "IPv6", "endpoints": [endpoint("a", "fd00::1", true)]},
            {"addressType": "IPv4", "endpoints": []},
        ]))
        .unwrap();
        let found = ready_addresses(&slices);
        assert_eq!(found, [("a".to_owned(), "10.1.0.1".to_owned())].into());
    }

    #[test]
    fn current_means_settings_and_certificate() {
        let pods = pods(vec![
            Some(state("r2", "ab", IssuerState::Ready)),
            Some(state("r2", "cd", IssuerState::Failed)),
            Some(state("r1", "ab", IssuerState::Degraded)),
            None,
        ]);
        assert_eq!((pods.ready(), pods.current("r2", "ab")), (4, 1));
        assert!(pods.any_serves() && !pods.all_have("r2"));
        let issuers = pods.issuers(["corp", "new"].into_iter());
        assert_eq!(issuers[0].state, IssuerState::Failed);
        assert_eq!(issuers[1].state, IssuerState::Pending);
    }

    #[test]
    fn no_pods_serve_nothing() {
        let none = Pods::default();
        assert!(!none.any_serves() && !none.all_have("r1"));
    }
}
