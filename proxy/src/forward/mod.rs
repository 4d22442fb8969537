//! Forwarding what has passed: headers are cleaned, the identity and our credential are added,
//! and the answer is passed on.

mod client_certificate;
mod connector;
mod credential;
mod credential_check;
mod hop_by_hop;
mod noticed_end;
mod own_client;
mod places;
mod session;
mod splice;
mod upstream;

use std::{net::IpAddr, sync::Arc};

use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{hop_by_hop::strip_request, splice::splice};
pub(crate) use self::{
    hop_by_hop::strip_response,
    places::{NoPlace, Place},
    session::{Session, SessionLimits},
    upstream::{Upstream, UpstreamError},
};
use crate::{
    audit::{AUDIT_ID, Exchange, RequestBody},
    identity::IdentityHeaders,
    request::{LongRunning, Upgrade, UpgradeProtocol},
    server::Occupied,
};

/// [`oidcproxy_crds::v1alpha1::impersonation::REMOTE_CLIENT_IP`] as a header.
const CLIENT_IP_EXTRA: HeaderName = HeaderName::from_static("impersonate-extra-remote-client-ip");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How a request is forwarded.
pub(crate) struct Forwarding<'a> {
    /// None where the client's own credential speaks for itself.
    pub(crate) identity: Option<&'a IdentityHeaders>,
    /// The client's own, where it is to be forwarded.
    pub(crate) credential: Option<&'a HeaderValue>,
    pub(crate) client: IpAddr,
    /// Whether the client's address travels as an extra, too.
    pub(crate) client_ip_extra: bool,
    pub(crate) upgrade: Option<Upgrade>,
    pub(crate) long_running: Option<LongRunning>,
    /// How long the stream may live that the request may become.
    pub(crate) session: Session,
    /// Ends the stream that the request may become.
    pub(crate) withdrawn: &'a CancellationToken,
    /// The request's record.
    pub(crate) exchange: &'a Arc<Exchange>,
    /// The request's place at kube-apiserver.
    pub(crate) place: Place,
}

/// Where upgraded connections go on, and what ends them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams {
    pub(crate) tasks: TaskTracker,
    pub(crate) end: CancellationToken,
}

impl Upstream {
    /// Forwards a request and passes the answer on, with the place that it still takes up.
    pub(crate) async fn forward(
        &self,
        mut request: Request<RequestBody>,
        forwarding: Forwarding<'_>,
        streams: &Streams,
    ) -> Result<(Response<Incoming>, Option<Place>), UpstreamError> {
        let client = hyper::upgrade::on(&mut request);
        let occupied = request.extensions_mut().remove::<Occupied>();
        self.rewrite(&mut request, &forwarding)?;
        let sent = request.headers().get(header::AUTHORIZATION).cloned();
        let mut answer = match forwarding.upgrade {
            Some(_) => self.send_alone(request).await?,
            None => {
                self.send(request, forwarding.long_running.is_some())
                    .await?
            }
        };
        // The client's own credential may be refused, and so may the user by whoever is behind
        // kube-apiserver. Of ours the client knows nothing: a 401 would have it log in again.
        if answer.status() == StatusCode::UNAUTHORIZED
            && forwarding.credential.is_none()
            && !self.accepts_us(sent).await
        {
            return Err(UpstreamError::Credential);
        }
        let switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        match forwarding.upgrade {
            Some(Upgrade { protocol }) if switched && protocol.is_in(answer.headers()) => {
                let upstream = hyper::upgrade::on(&mut answer);
                strip_response(answer.headers_mut());
                add_upgrade(answer.headers_mut(), protocol);
                let (end, withdrawn) = (streams.end.clone(), forwarding.withdrawn.clone());
                let exchange = Arc::clone(forwarding.exchange);
                let session = forwarding.session;
                let stream = splice(client, upstream, end, withdrawn, session, exchange);
                streams.tasks.spawn(async move {
                    stream.await;
                    // The server is done with the connection at the 101; it still counts as one.
                    drop((occupied, forwarding.place));
                });
                return Ok((answer, None));
            }
            _ if switched => return Err(UpstreamError::Protocol),
            Some(_) if answer.status().is_redirection() => return Err(UpstreamError::Redirect),
            _ => strip_response(answer.headers_mut()),
        }
        Ok((answer, Some(forwarding.place)))
    }

    fn rewrite(
        &self,
        request: &mut Request<RequestBody>,
        forwarding: &Forwarding<'_>,
    ) -> Result<(), UpstreamError> {
        *request.uri_mut() = self.uri(request.uri().path_and_query())?;
        *request.version_mut() = http::Version::HTTP_11;
        request.extensions_mut().clear();
        let has_body_of_unknown_length = !request.body().is_end_stream()
            && !request.headers().contains_key(header::CONTENT_LENGTH);
        let client = HeaderValue::try_from(forwarding.client.to_string());
        let client = client.map_err(|_| UpstreamError::Request)?;
        let headers = request.headers_mut();
        // First away with what the client may not say, then what we say.
        strip_request(headers);
        headers.insert(header::HOST, self.host());
        if has_body_of_unknown_length {
            // hyper would leave the body of a GET out.
            headers.insert(
                header::TRANSFER_ENCODING,
                HeaderValue::from_static("chunked"),
            );
        }
        headers.insert(AUDIT_ID, forwarding.exchange.audit_id());
        let own = forwarding.credential.cloned();
        let is_own = own.is_some();
        if let Some(credential) = own.or_else(|| self.credential().header()) {
            headers.insert(header::AUTHORIZATION, credential);
        }
        match forwarding.identity {
            Some(identity) => identity.add_to(headers),
            None if is_own => {}
            // As the proxy itself nothing is ever forwarded.
            None => return Err(UpstreamError::Request),
        }
        if forwarding.client_ip_extra && !is_own {
            headers.insert(CLIENT_IP_EXTRA, client.clone());
        }
        headers.insert(X_FORWARDED_FOR, client);
        if let Some(Upgrade { protocol }) = forwarding.upgrade {
            add_upgrade(headers, protocol);
        }
        Ok(())
    }
}

fn add_upgrade(headers: &mut http::HeaderMap, protocol: UpgradeProtocol) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, protocol.header_value());
}
