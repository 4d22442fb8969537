//! `oidc-proxy-operator uninstall`: what the chart runs before its release goes. Only the operator takes the cluster-wide
//! rights of a proxy away, so none may be left behind by mistake.

use std::{fmt::Write as _, time::Duration};

use clap::ValueEnum;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Preconditions},
    core::PartialObjectMeta,
};
use oidcproxy_crds::OidcProxy;
use tokio::time::{Instant, sleep};

/// Between looks at what is still there.
const PAUSE: Duration = Duration::from_secs(1);
/// As many are named in a message.
const NAMED: usize = 10;

/// What to do about `OidcProxy` objects that remain.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Policy {
    /// Fail, so that nothing is uninstalled
    Stop,
    /// Leave them and their proxies as they are
    Orphan,
    /// Delete them and wait until they are gone
    Delete,
}

/// Why the release must not go.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Some remain, and nobody said what to do.
    #[error(
        "{0}; nothing was uninstalled. Delete them first, while the operator is there to clean up behind them \
         (kubectl delete oidcproxies --all --all-namespaces), or set the chart's uninstall.policy to Delete or Orphan, \
         after a helm rollback to its newest revision: Helm counts a stopped release as half gone"
    )]
    Remain(String),
    /// The finalizers were not taken off in time.
    #[error(
        "after {limit:?}: {remaining}; nothing was uninstalled. Their finalizers wait for the operator: see its log, and try again"
    )]
    NotGone {
        /// How long they were waited for.
        limit: Duration,
        /// Which.
        remaining: String,
    },
    /// The API server refused something.
    #[error("cannot {verb} OidcProxies")]
    Api {
        /// What was asked.
        verb: &'static str,
        /// What it said.
        source: kube::Error,
    },
}

/// Succeeds when the release may go.
pub async fn run(client: &Client, policy: Policy, limit: Duration) -> Result<(), Error> {
    let remaining = list(client).await?;
    if remaining.is_empty() {
        tracing::info!("no OidcProxy remains");
        return Ok(());
    }
    match policy {
        Policy::Stop => Err(Error::Remain(named(&remaining))),
        Policy::Orphan => {
            tracing::warn!(
                "{}: their proxies go on with their last settings; certificates are not renewed any more, and whoever is \
                 deleted now waits for an operator to take its finalizer off",
                named(&remaining)
            );
            Ok(())
        }
        Policy::Delete => delete(client, remaining, limit).await,
    }
}

async fn delete(
    client: &Client,
    mut remaining: Vec<PartialObjectMeta<OidcProxy>>,
    limit: Duration,
) -> Result<(), Error> {
    tracing::info!("deleting: {}", named(&remaining));
    let deadline = Instant::now() + limit;
    loop {
        for proxy in &remaining {
            if proxy.metadata.deletion_timestamp.is_none() {
                delete_one(client, proxy).await?;
            }
        }
        // One that is created meanwhile must go too.
        remaining = list(client).await?;
        if remaining.is_empty() {
            tracing::info!("all are gone");
            return Ok(());
        }
        if Instant::now() >= deadline {
            let remaining = named(&remaining);
            return Err(Error::NotGone { limit, remaining });
        }
        sleep(PAUSE).await;
    }
}

async fn delete_one(client: &Client, proxy: &PartialObjectMeta<OidcProxy>) -> Result<(), Error> {
    let namespace = proxy.namespace().unwrap_or_default();
    let api: Api<OidcProxy> = Api::namespaced(client.clone(), &namespace);
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: proxy.uid(),
            resource_version: None,
        }),
        ..DeleteParams::background()
    };
    // As Status or object alike: what cannot be decoded is deleted too.
    let request = kube::core::Request::new(api.resource_url()).delete(&proxy.name_any(), &params);
    let answer = match request {
        Ok(request) => client.request_text(request).await,
        Err(error) => Err(kube::Error::BuildRequest(error)),
    };
    match answer {
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(source) => Err(Error::Api {
            verb: "delete",
            source,
        }),
        Ok(_) => Ok(()),
    }
}

/// By their metadata alone: one that cannot be read counts too. Without a definition there are none.
async fn list(client: &Client) -> Result<Vec<PartialObjectMeta<OidcProxy>>, Error> {
    let api: Api<OidcProxy> = Api::all(client.clone());
    match api.list_metadata(&ListParams::default()).await {
        Ok(list) => Ok(list.items),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Vec::new()),
        Err(source) => Err(Error::Api {
            verb: "list",
            source,
        }),
    }
}

fn named(remaining: &[PartialObjectMeta<OidcProxy>]) -> String {
    let mut text = match remaining.len() {
        1 => "1 OidcProxy remains: ".to_owned(),
        count => format!("{count} OidcProxies remain: "),
    };
    let names = remaining.iter().take(NAMED).map(|proxy| {
        let namespace = proxy.namespace().unwrap_or_default();
        format!("{namespace}/{}", proxy.name_any())
    });
    text.push_str(&names.collect::<Vec<_>>().join(", "));
    if remaining.len() > NAMED {
        // Writing to a String cannot fail.
        let _ = write!(text, " and {} more", remaining.len() - NAMED);
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::ObjectMeta;

    use super::*;

    fn proxies(count: usize) -> Vec<PartialObjectMeta<OidcProxy>> {
        let metadata = |index| ObjectMeta {
            name: Some(format!("p{index}")),
            namespace: Some("auth".into()),
            ..ObjectMeta::default()
        };
        (0..count)
            .map(|index| PartialObjectMeta {
                types: None,
                metadata: metadata(index),
                _phantom: std::marker::PhantomData,
            })
            .collect()
    }

    #[test]
    fn the_message_stays_short() {
        assert_eq!(named(&proxies(1)), "1 OidcProxy remains: auth/p0");
        assert_eq!(named(&proxies(2)), "2 OidcProxies remain: auth/p0, auth/p1");
        let many = named(&proxies(1000));
        assert!(many.starts_with("1000 OidcProxies remain: auth/p0, "));
        assert!(many.ends_with("auth/p9 and 990 more"), "{many}");
    }
}
