//! The client for what we ask kube-apiserver as ourselves, over the same TLS.

use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use kube::{Config, client::ConfigExt as _};
use tower::{BoxError, ServiceBuilder};

use super::{
    connector::BoundedConnector,
    upstream::{IDLE_TIMEOUT, UpstreamConfigError},
};

/// Nothing is asked again behind our back: a review would outlive its request's patience.
pub(super) fn of(
    config: &Config,
    connector: BoundedConnector,
) -> Result<kube::Client, UpstreamConfigError> {
    let wrong = |error| UpstreamConfigError::Client(Box::new(error));
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .build::<_, kube::client::Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(wrong)?)
        .layer(config.extra_headers_layer().map_err(wrong)?)
        .map_err(BoxError::from)
        .service(client);
    let namespace = config.default_namespace.clone();
    Ok(kube::Client::new(service, namespace))
}
