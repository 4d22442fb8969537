//! What all passes share.

use std::{collections::BTreeSet, time::Duration};

use kube::{
    Client, Resource as _,
    runtime::{controller::Action, reflector::ObjectRef},
};
use oidcproxy_crds::{OidcProxyStatus, v1alpha1::conditions as types};

use super::{
    Error, Guarded,
    apply::{Memories, Optional, Turns},
    build::ADMIN_PORT,
    identity::Identity,
    observe::probe::Probe,
    options::Options,
    pace::{FOREIGN, Pace},
    refusal::Reason,
    self_test::SelfTest,
    service_account_issuer::ServiceAccountIssuer,
    status::{damper::Damper, is_true},
    transition::Transitions,
};
use crate::{events::Events, metrics::Metrics};

/// What all passes share.
pub struct Context {
    /// To the API server.
    pub client: Client,
    /// What the flags say.
    pub options: Options,
    /// To tell people.
    pub events: Events,
    /// To tell machines.
    pub metrics: Metrics,
    /// To ask pods.
    pub probe: Probe,
    /// What was applied.
    pub memories: Memories,
    /// Whose new image is under way.
    pub turns: Turns,
    /// What the cluster has of kinds that it may lack.
    pub optional: Optional,
    pub(super) transitions: Transitions,
    pub(super) self_test: SelfTest,
    pub(super) service_account_issuer: ServiceAccountIssuer,
    pub(super) pace: Pace,
    pub(super) damper: Damper,
}

impl Context {
    /// A context for an operator that has just begun.
    pub fn new(client: Client, options: Options, events: Events, metrics: Metrics) -> Self {
        Self {
            client,
            options,
            events,
            metrics,
            probe: Probe::new(ADMIN_PORT),
            memories: Memories::default(),
            turns: Turns::default(),
            optional: Optional::default(),
            transitions: Transitions::default(),
            self_test: SelfTest::default(),
            service_account_issuer: ServiceAccountIssuer::default(),
            pace: Pace::default(),
            damper: Damper::default(),
        }
    }

    pub(super) fn forget(&self, identity: &Identity) {
        self.pace.forget(&identity.uid);
        self.damper.forget(&identity.uid);
        self.turns.end(&identity.uid);
        self.transitions.forget(&identity.uid);
        self.self_test.forget(&identity.uid);
        self.memories.forget(&identity.uid);
        self.metrics.forget(&identity.namespace, &identity.name);
    }

    /// Only what concerns these objects is of use any longer: some vanish without a last pass.
    pub(super) fn retain(&self, living: &[ObjectRef<Guarded>]) {
        let uids: BTreeSet<String> = living
            .iter()
            .filter_map(|object| object.extra.uid.clone())
            .collect();
        self.pace.retain(&uids);
        self.damper.retain(&uids);
        self.transitions.retain(&uids);
        self.self_test.retain(&uids);
        self.memories.retain(&uids);
        let names: BTreeSet<(&str, &str)> = living
            .iter()
            .filter_map(|object| Some((object.namespace.as_deref()?, object.name.as_str())))
            .collect();
        self.metrics.retain(&names);
    }

    /// A pass has come to nothing. Whatever ended it counts, wherever it was: the next ones wait
    /// longer.
    pub(super) fn failed(&self, object: &Guarded, error: &Error) {
        // Somebody has to change such an object first; it is looked at now and then.
        if !matches!(error, Error::Unreadable(_) | Error::Incomplete) {
            let uid = object.meta().uid.as_deref().unwrap_or_default();
            self.pace.failed(uid, error.is_conflict());
        }
    }

    /// When to look again: soon while something is under way, else now and then; pods and the
    /// clock do not report themselves. What is held back is said as soon as it may be.
    pub(super) fn next(
        &self,
        identity: &Identity,
        status: &OidcProxyStatus,
        result: Result<(), Error>,
        held: Option<Duration>,
    ) -> Result<Action, Error> {
        let at = |wait: Duration| Action::requeue(held.map_or(wait, |held| held.min(wait)));
        match result {
            Err(Error::Refused(refusal)) if refusal.reason == Reason::NamespaceNotAllowed => {
                self.pace.settled(&identity.uid);
                Ok(held.map_or_else(Action::await_change, Action::requeue))
            }
            Err(error) if error.is_stalled() => {
                let steady = self.pace.settled(&identity.uid);
                tracing::info!(
                    namespace = identity.namespace,
                    name = identity.name,
                    "{error}"
                );
                let foreign = error.is_foreign();
                Ok(at(if foreign { FOREIGN } else { steady }))
            }
            Err(error) => Err(error),
            Ok(()) if is_true(status, types::READY) && !is_true(status, types::RECONCILING) => {
                Ok(at(self.pace.settled(&identity.uid)))
            }
            Ok(()) => Ok(at(self.pace.not_ready(&identity.uid))),
        }
    }
}
