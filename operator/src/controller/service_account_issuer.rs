//! The issuer of the cluster's own service account tokens. No `OidcProxy` may name it: such a token
//! would become a user.

use std::time::Duration;

use http::Request;
use kube::Client;
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

const DISCOVERY: &str = "/.well-known/openid-configuration";
/// It changes with the API server's flags, so hardly ever.
const AGE: Duration = Duration::from_mins(10);
/// A cluster may withhold it from service accounts.
const RETRY: Duration = Duration::from_mins(1);
/// As the schema of settings has it.
const MAX_BYTES: usize = 2048;

/// What the API server says of itself, asked now and then.
#[derive(Debug, Default)]
pub(super) struct ServiceAccountIssuer(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    issuer: Option<String>,
    good_until: Option<Instant>,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
}

impl ServiceAccountIssuer {
    /// The issuer, if it is known; what was once learnt stays.
    pub(super) async fn get(&self, client: &Client) -> Option<String> {
        let mut known = self.0.lock().await;
        if known.good_until.is_none_or(|until| until <= Instant::now()) {
            let age = match ask(client).await {
                Ok(issuer) => {
                    known.issuer = Some(issuer);
                    AGE
                }
                Err(why) => {
                    tracing::warn!(
                        "the issuer of service account tokens is not known, so nothing keeps an OidcProxy from naming it: {why}"
                    );
                    RETRY
                }
            };
            known.good_until = Some(Instant::now() + age);
        }
        known.issuer.clone()
    }
}

async fn ask(client: &Client) -> Result<String, String> {
    let request = Request::get(DISCOVERY)
        .body(Vec::new())
        .map_err(|error| error.to_string())?;
    let document: Document = client
        .request(request)
        .await
        .map_err(|error| error.to_string())?;
    if document.issuer.is_empty() || document.issuer.len() > MAX_BYTES {
        return Err(format!("{DISCOVERY} names none"));
    }
    Ok(document.issuer)
}
