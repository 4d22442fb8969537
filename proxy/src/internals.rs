//! Doors into rooms that are closed otherwise, for fuzz targets and benchmarks only: no binary has the feature.

use http::{HeaderMap, Request};

pub use crate::{
    authn::internals::{Mapping, ReadToken, Verifier, read_token},
    settings::internals::{RunningAuthenticator, read_authentication_configuration},
};
use crate::{
    identity::{Identity, IdentityHeaders},
    impersonate::{self, ClientRequest},
    request::{Credentials, Upgrade, UpgradeProtocol, check_head, strip_subprotocol_tokens},
};

/// The name and the value of a header.
pub type HeaderLine = (String, Vec<u8>);

/// What is found in a request before anybody is asked about it.
#[derive(Debug)]
pub struct ReadRequest {
    /// Its tokens, in order.
    pub tokens: Vec<String>,
    /// Whether it asks to become a WebSocket.
    pub is_websocket: bool,
    /// Its headers without tokens among the subprotocols.
    pub subprotocols: HeaderMap,
}

/// Reads target and credentials, as for every request.
pub fn read_request(request: &Request<()>) -> Result<ReadRequest, String> {
    check_head(request, 256).map_err(|error| error.to_string())?;
    let upgrade = Upgrade::asked_for(request);
    let credentials =
        Credentials::of(request.headers(), upgrade).map_err(|error| error.to_string())?;
    let mut subprotocols = request.headers().clone();
    subprotocols.remove(http::header::AUTHORIZATION);
    strip_subprotocol_tokens(&mut subprotocols);
    Ok(ReadRequest {
        tokens: credentials
            .presented()
            .filter_map(|token| token.ok().map(str::to_owned))
            .collect(),
        is_websocket: upgrade.is_some_and(|upgrade| upgrade.protocol == UpgradeProtocol::WebSocket),
        subprotocols,
    })
}

/// The headers that are forwarded for a client's own `Impersonate-*` headers, if it is allowed everything.
pub fn impersonated(
    headers: &HeaderMap,
    requester: &str,
) -> Result<Option<Vec<HeaderLine>>, String> {
    let Some(asked) = ClientRequest::parse(headers).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    asked
        .check_extra_keys(&["*".to_owned()])
        .map_err(|error| error.to_string())?;
    let requester = Identity {
        username: requester.to_owned(),
        ..Identity::default()
    };
    let target = impersonate::target(asked, &requester, impersonate::AllowedBy::Legacy, &[])
        .map_err(|error| error.to_string())?;
    Ok(Some(lines(&target.headers)))
}

/// Encoded headers as a client would see them.
pub(crate) fn lines(headers: &IdentityHeaders) -> Vec<HeaderLine> {
    let mut map = HeaderMap::new();
    headers.add_to(&mut map);
    map.iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect()
}

/// A user's headers; how many there are.
pub fn encode_identity(username: &str, groups: &[String]) -> Result<usize, String> {
    let identity = Identity {
        username: username.to_owned(),
        groups: groups.to_vec(),
        ..Identity::default()
    };
    let headers = IdentityHeaders::encode(&identity).map_err(|error| error.to_string())?;
    let mut map = HeaderMap::new();
    headers.add_to(&mut map);
    Ok(map.len())
}
