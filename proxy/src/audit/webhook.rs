//! Where a webhook is, and how it is called: a kubeconfig, as for kube-apiserver.

use std::{path::Path, time::Duration};

use http::{HeaderValue, Method, Request, StatusCode, Uri, header, uri};
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use crate::first_line::first_line;

/// A webhook that says nothing for longer is tried again.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a webhook cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookConfigError {
    /// Its kubeconfig cannot be read.
    #[error("the webhook's kubeconfig cannot be read: {0}")]
    Read(String),
    /// A login that needs a program or a password.
    #[error(
        "the user of the webhook's kubeconfig needs a token, a token file or a client certificate; exec, auth-provider and basic authentication are not supported"
    )]
    Login,
    /// Its certificates cannot be used.
    #[error("the certificates of the webhook's kubeconfig cannot be used: {0}")]
    Client(Box<kube::Error>),
}

/// Why events were not delivered.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeliveryError {
    #[error("the webhook cannot be reached: {0}")]
    Unreachable(#[source] Box<kube::Error>),
    #[error("the webhook did not answer in time")]
    Timeout,
    #[error("the webhook answered {0}")]
    Status(StatusCode),
    #[error("the request cannot be made")]
    Request,
}

/// A webhook.
#[derive(Clone)]
pub(crate) struct Webhook(Client);

impl Webhook {
    /// By the file that a flag names; other files that it names are looked for beside it.
    pub(crate) async fn from_file(path: &Path) -> Result<Self, WebhookConfigError> {
        let kubeconfig = Kubeconfig::read_from(path).map_err(|error| unreadable(&error))?;
        Self::new(kubeconfig).await
    }

    /// By a text that holds everything itself.
    pub(super) async fn from_text(text: &str) -> Result<Self, WebhookConfigError> {
        let kubeconfig = Kubeconfig::from_yaml(text).map_err(|error| unreadable(&error))?;
        Self::new(kubeconfig).await
    }

    async fn new(kubeconfig: Kubeconfig) -> Result<Self, WebhookConfigError> {
        let logins = kubeconfig.auth_infos.iter();
        let mut logins = logins.filter_map(|named| named.auth_info.as_ref());
        if logins.any(|login| {
            login.exec.is_some() || login.auth_provider.is_some() || login.username.is_some()
        }) {
            return Err(WebhookConfigError::Login);
        }
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|error| unreadable(&error))?;
        // Who sends again, and when, is decided here.
        config.default_retry = false;
        let client = Client::try_from(config)
            .map_err(|error| WebhookConfigError::Client(Box::new(error)))?;
        Ok(Self(client))
    }

    /// Sends an `EventList` once.
    pub(super) async fn deliver(&self, list: Vec<u8>) -> Result<(), DeliveryError> {
        // Without a path of its own: the server in the kubeconfig is the whole address.
        let mut parts = uri::Parts::default();
        parts.authority = Some(uri::Authority::from_static("webhook"));
        let uri = Uri::from_parts(parts).map_err(|_| DeliveryError::Request)?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            )
            .body(Body::from(list))
            .map_err(|_| DeliveryError::Request)?;
        let answer = tokio::time::timeout(TIMEOUT, self.0.send(request))
            .await
            .map_err(|_| DeliveryError::Timeout)?
            .map_err(|error| DeliveryError::Unreachable(Box::new(error)))?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(DeliveryError::Status(answer.status()))
        }
    }
}

fn unreadable(error: &KubeconfigError) -> WebhookConfigError {
    WebhookConfigError::Read(first_line(error))
}
