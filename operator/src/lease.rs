//! Leader election by a Lease.
//!
//! Whether another holder is still alive is judged by how long its record has not changed here,
//! never by comparing clocks. Every write carries the resource version that was read, so of two
//! that try at once one loses. A leader that cannot renew stops well before others may take over.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams, core::ObjectMeta};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::controller::identity::MANAGER;

/// How long a holder may be silent before others take over.
const DURATION: Duration = Duration::from_secs(15);
/// How long a leader goes on without a renewal.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between renewals.
const RENEW: Duration = Duration::from_secs(5);
/// Between attempts of a candidate, and of a leader whose renewal has failed.
const RETRY: Duration = Duration::from_secs(2);

/// What is to be done about a Lease.
#[derive(Debug, PartialEq)]
enum Decision {
    /// There is none.
    Create,
    /// It is free, ours from before, or its holder is silent.
    Take,
    /// It is somebody else's.
    Wait,
}

/// A record as it was first seen here.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    version: Option<String>,
    at: Instant,
}

/// Takes, renews and gives back the lead.
pub struct Elector {
    api: Api<Lease>,
    name: String,
    identity: String,
    seen: Option<Seen>,
    held: Option<Lease>,
    /// Before the request that renewed it last was sent.
    renewed: Instant,
}

impl Elector {
    /// A candidate.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            seen: None,
            held: None,
            renewed: Instant::now(),
        }
    }

    /// Waits until this process leads; `contact` is called whenever the API server has answered.
    pub async fn acquire(&mut self, contact: impl Fn()) {
        loop {
            match timeout(DEADLINE, self.attempt()).await {
                Ok(Ok(true)) => return contact(),
                Ok(Ok(false)) => contact(),
                Ok(Err(error)) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot read or take the Lease"
                    );
                }
                Err(_) => tracing::warn!("the API server is too slow for the Lease"),
            }
            sleep(RETRY).await;
        }
    }

    /// Renews until that fails for too long, or somebody else has the lead.
    pub async fn hold(&mut self) {
        let mut next = self.renewed + RENEW;
        loop {
            let deadline = self.renewed + DEADLINE;
            sleep_until(next.min(deadline)).await;
            match timeout_at(deadline, self.renew()).await {
                Ok(Ok(true)) => next = self.renewed + RENEW,
                Ok(Ok(false)) => return tracing::error!("somebody else holds the Lease"),
                Ok(Err(error)) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot renew the Lease"
                    );
                    next = Instant::now() + RETRY;
                }
                Err(_) => return tracing::error!("the Lease could not be renewed in time"),
            }
            if Instant::now() >= self.renewed + DEADLINE {
                return tracing::error!("the Lease could not be renewed in time");
            }
        }
    }

    /// Gives the lead back, so that nobody has to wait for its end.
    pub async fn release(&mut self) {
        let Some(mut lease) = self.held.take() else {
            return;
        };
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        if let Ok(Ok(_)) = timeout(RETRY, self.replace(&lease)).await {
            tracing::info!("the Lease is released");
        } else {
            tracing::warn!("the Lease could not be released");
        }
    }

    /// Whether this process leads now.
    async fn attempt(&mut self) -> kube::Result<bool> {
        let started = Instant::now();
        let lease = self.api.get_opt(&self.name).await?;
        let decision = decide(lease.as_ref(), &self.identity, &mut self.seen, started);
        let sent = match decision {
            Decision::Wait => return Ok(false),
            Decision::Create => {
                let lease = taken(Lease::default(), &self.name, &self.identity);
                self.api.create(&params(), &lease).await
            }
            Decision::Take => {
                let lease = taken(lease.unwrap_or_default(), &self.name, &self.identity);
                self.replace(&lease).await
            }
        };
        match sent {
            Ok(lease) => {
                self.held = Some(lease);
                self.renewed = started;
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether this process still leads.
    async fn renew(&mut self) -> kube::Result<bool> {
        let Some(mut lease) = self.held.clone() else {
            return Ok(false);
        };
        let started = Instant::now();
        let spec = lease.spec.get_or_insert_default();
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        match self.replace(&lease).await {
            Ok(lease) => {
                self.held = Some(lease);
                self.renewed = started;
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {
                // Somebody has touched it: an annotation, or the lead.
                let lease = self.api.get_opt(&self.name).await?;
                let ours = lease
                    .as_ref()
                    .is_some_and(|lease| holder(lease) == self.identity);
                self.held = lease.filter(|_| ours);
                if ours {
                    Err(kube::Error::Api(status))
                } else {
                    Ok(false)
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn replace(&self, lease: &Lease) -> kube::Result<Lease> {
        self.api.replace(&self.name, &params(), lease).await
    }
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn holder(lease: &Lease) -> &str {
    lease
        .spec
        .as_ref()
        .and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default()
}

fn decide(
    lease: Option<&Lease>,
    identity: &str,
    seen: &mut Option<Seen>,
    now: Instant,
) -> Decision {
    let Some(lease) = lease else {
        return Decision::Create;
    };
    let holder = holder(lease);
    if holder.is_empty() || holder == identity {
        return Decision::Take;
    }
    let version = &lease.metadata.resource_version;
    let since = match seen {
        Some(seen) if seen.version == *version => seen.at,
        _ => {
            *seen = Some(Seen {
                version: version.clone(),
                at: now,
            });
            now
        }
    };
    let seconds = lease
        .spec
        .as_ref()
        .and_then(|spec| spec.lease_duration_seconds);
    let duration = seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(DURATION, Duration::from_secs);
    if now.duration_since(since) >= duration {
        Decision::Take
    } else {
        Decision::Wait
    }
}

/// The Lease as this process holds it.
fn taken(lease: Lease, name: &str, identity: &str) -> Lease {
    let now = MicroTime(Timestamp::now());
    let old = lease.spec.unwrap_or_default();
    let changed = old.holder_identity.as_deref() != Some(identity);
    let transitions = old.lease_transitions.unwrap_or_default();
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..lease.metadata
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(identity.to_owned()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions.saturating_add(i32::from(changed))),
            ..old
        }),
    }
}

#[cfg(test)]
mod tests;
