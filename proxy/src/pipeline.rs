//! One request, from its first step to its last, in one place: whoever asks in which order things
//! are decided reads it here.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use oidcproxy_crds::v1alpha1::impersonation::{ClientRequests, Constrained};

use crate::{
    audit::{AUDIT_ID, Exchange, RecordedBody, RequestBody, Trail},
    authn::{AuthenticationError, PassedToken, Requester, TokenError, TokenReviewer},
    body::{ForStranger, ResponseBody, UpstreamBody},
    drain::Drain,
    early_end::EarlyEnd,
    forward::{Forwarding, NoPlace, Place, Streams, Upstream},
    impersonate::{
        self, ClientRequest, ImpersonatedTarget, ImpersonationError, RequestUnderReview, Reviewer,
    },
    metrics::Metrics,
    readiness::Readiness,
    refusal::Refusal,
    request::{ClientNetwork, Credentials, RequestInfo, Upgrade, check_head},
    settings::{Settings, SettingsStore},
    traces::{RequestTrace, Step},
};

/// Answers requests.
pub(crate) struct Pipeline {
    pub(crate) settings: Arc<SettingsStore>,
    pub(crate) upstream: Upstream,
    pub(crate) reviewer: Reviewer,
    pub(crate) token_reviewer: TokenReviewer,
    pub(crate) trail: Arc<Trail>,
    pub(crate) streams: Streams,
    pub(crate) drain: Drain,
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Arc<Metrics>,
    /// Nobody is impersonated: kube-apiserver knows the issuers and gets their tokens.
    pub(crate) forwards_tokens: bool,
}

/// What is known of a request before anything is decided.
struct Arrival<'a> {
    client: IpAddr,
    info: &'a RequestInfo,
    upgrade: Option<Upgrade>,
    settings: &'a Settings,
}

/// As whom a request is forwarded.
struct Admitted {
    requester: Requester,
    acting_as: Option<ImpersonatedTarget>,
}

impl Pipeline {
    /// Every request gets an answer.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<RecordedBody> {
        if let Some(answer) = self.probe(&request) {
            return answer.map(|body| RecordedBody::new(body, None));
        }
        let _in_flight = self.metrics.request_started();
        let started = Instant::now();
        let info = RequestInfo::of(&request);
        let is_http2 = request.version() == http::Version::HTTP_2;
        let settings = self.settings.current();
        let client = match &settings {
            None => peer.ip(),
            Some(settings) => settings
                .trusted_proxies
                .client(peer.ip(), request.headers()),
        };
        let exchange = self
            .trail
            .begin(&request, client, &info, settings.as_deref());
        let handled = self.handle(request, client, &info, settings, &exchange);
        let mut answer = match handled.await {
            Ok(answer) => answer,
            Err(refusal) => {
                exchange.refused(&refusal);
                self.refuse(&refusal, exchange.audit_id_text(), is_http2)
            }
        };
        exchange.answered(answer.status(), answer.headers());
        let headers = answer.headers_mut();
        headers.insert(AUDIT_ID, exchange.audit_id());
        self.metrics
            .request_answered(&info, answer.status().as_u16(), started.elapsed());
        answer.map(|body| RecordedBody::new(body, Some(exchange)))
    }

    async fn handle(
        &self,
        request: Request<Incoming>,
        client: IpAddr,
        info: &RequestInfo,
        settings: Option<Arc<Settings>>,
        exchange: &Arc<Exchange>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let settings = settings.ok_or_else(|| {
            Refusal::ServiceUnavailable("the proxy has no settings so far".to_owned())
        })?;
        let arrival = Arrival {
            client,
            info,
            upgrade: Upgrade::asked_for(&request),
            settings: &settings,
        };
        let admitted = self.admit(&request, &arrival, exchange).await?;
        let place = self.upstream.enter(admitted.requester.identity());
        let place = place.map_err(|none| match none {
            NoPlace::OfUser => Refusal::UserShare,
            NoPlace::OfAll => Refusal::Overloaded,
        })?;
        let target = admitted.acting_as.as_ref();
        exchange.admitted(target.map(|target| Arc::clone(&target.identity)));
        let mut answer = self
            .forward(request, &arrival, &admitted, exchange, place)
            .await?;
        if matches!(admitted.requester, Requester::Anonymous(_)) {
            answer.extensions_mut().insert(ForStranger);
        }
        Ok(answer)
    }

    /// Who sends the request and as whom it may run. Nothing has been forwarded so far.
    async fn admit(
        &self,
        request: &Request<Incoming>,
        arrival: &Arrival<'_>,
        exchange: &Exchange,
    ) -> Result<Admitted, Refusal> {
        let settings = arrival.settings;
        check_head(request, settings.limits.header_count)?;
        let client = ClientNetwork::from(arrival.client);
        let unauthenticated = settings.limits.unauthenticated_per_address.as_ref();
        let credentials = Credentials::of(request.headers(), arrival.upgrade)?;
        if unauthenticated.is_some_and(|limit| !limit.has_left(&client))
            && !settings.authenticator.knows_one_of(&credentials)
        {
            return Err(Refusal::TooManyRequests(
                "too many requests without a valid credential from this address",
            ));
        }
        let path = request.uri().path();
        let mut step = exchange.trace().step(Step::Authenticate);
        let requester = self.authenticate(settings, &credentials, path).await;
        if requester.is_err() {
            step.failed();
        }
        step.end();
        let requester = requester.inspect_err(|refusal| {
            if refusal.code() == StatusCode::UNAUTHORIZED
                && let Some(limit) = unauthenticated
            {
                limit.take(&client);
            }
        })?;
        exchange.authenticated(Arc::clone(requester.identity()));
        let requests = settings.limits.requests_per_user.as_ref();
        if requests.is_some_and(|limit| !limit.take(&requester.identity().username)) {
            return Err(Refusal::TooManyRequests("too many requests of this user"));
        }
        settings.restrict_to.check(requester.identity())?;
        let acting_as = self
            .act_as(settings, request, &requester, exchange.trace())
            .await?;
        if let Some(target) = &acting_as {
            settings.restrict_to.check(&target.identity)?;
        }
        // Keys and reviews may have taken seconds.
        if requester.withdrawn().is_cancelled() {
            return Err(AuthenticationError::from(TokenError::Unclaimed).into());
        }
        Ok(Admitted {
            requester,
            acting_as,
        })
    }

    /// `kubectl --as`: as kube-apiserver, but asked for the user and not for the proxy.
    async fn act_as(
        &self,
        settings: &Settings,
        request: &Request<Incoming>,
        requester: &Requester,
        trace: &RequestTrace,
    ) -> Result<Option<ImpersonatedTarget>, Refusal> {
        let Some(wish) = ClientRequest::parse(request.headers())? else {
            return Ok(None);
        };
        if settings.client_requests == ClientRequests::Deny {
            let reason = "impersonation is turned off by spec.impersonation.clientRequests";
            return Err(ImpersonationError::Forbidden(reason.to_owned()).into());
        }
        wish.check_extra_keys(&settings.as_extra_keys)?;
        if requester.credential().is_some() {
            // The token's own rights decide, and kube-apiserver asks for them itself.
            return Ok(Some(impersonate::own_target(&wish)?));
        }
        let requester = requester.identity();
        let under_review =
            (settings.constrained == Constrained::Auto).then(|| RequestUnderReview::of(request));
        let mut step = trace.step(Step::Review);
        let reviewed = self
            .reviewer
            .check(requester, wish.identity(), under_review.as_ref());
        let allowed_by = reviewed.await.inspect_err(|_| step.failed())?;
        step.end();
        let target = impersonate::target(wish, requester, allowed_by, &settings.static_extra)?;
        self.metrics.groups(target.identity.groups.len());
        Ok(Some(target))
    }

    async fn forward(
        &self,
        mut request: Request<Incoming>,
        arrival: &Arrival<'_>,
        admitted: &Admitted,
        exchange: &Arc<Exchange>,
        place: Place,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let &Arrival { info, settings, .. } = arrival;
        let requester = &admitted.requester;
        let session = settings.sessions.begin(requester.expires());
        let forwarding = Forwarding {
            identity: match &admitted.acting_as {
                Some(target) => Some(&target.headers),
                None => requester.headers(),
            },
            credential: requester.credential(),
            client: arrival.client,
            client_ip_extra: settings.client_ip_extra,
            upgrade: arrival.upgrade,
            long_running: info.long_running,
            session,
            withdrawn: requester.withdrawn(),
            exchange,
            place,
        };
        let mut step = exchange.trace().step(Step::Upstream);
        step.inject(request.headers_mut());
        let request = RequestBody::count(request, exchange);
        let (answer, place) = self
            .upstream
            .forward(request, forwarding, &self.streams)
            .await
            .inspect_err(|_| step.failed())?;
        step.answered(answer.status());
        step.end();
        let closing = &self.drain.closing;
        let early_end = EarlyEnd::of(info, requester.clone(), session, closing, exchange);
        Ok(answer.map(|body| ResponseBody::Upstream(UpstreamBody::new(body, early_end, place))))
    }

    fn refuse(&self, refusal: &Refusal, audit_id: &str, is_http2: bool) -> Response<ResponseBody> {
        self.metrics.refused(refusal.metric_reason());
        if let Refusal::Upstream(error) = refusal {
            self.metrics.upstream_error(error.kind());
        } else {
            let reason = refusal.to_string();
            // Quoted: a client's words may be in it.
            let code = refusal.code().as_u16();
            tracing::info!(?reason, code, audit_id, "request refused");
        }
        let mut answer = refusal.to_response().map(ResponseBody::Own);
        if refusal.code() == StatusCode::UNAUTHORIZED && !is_http2 {
            // Whoever has no credential keeps no connection either.
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(http::header::CONNECTION, close);
        }
        answer
    }

    /// `/livez` and `/readyz` speak of the proxy: load balancers that can only ask the serving
    /// port take it out by them. Exactly these paths, and no details.
    fn probe(&self, request: &Request<Incoming>) -> Option<Response<ResponseBody>> {
        let good = match request.uri().path() {
            "/livez" => true,
            "/readyz" => self.readiness.is_ready(),
            _ => return None,
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD)
            || request.uri().query().is_some()
        {
            return None;
        }
        let (code, text) = if good {
            (StatusCode::OK, "ok")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready")
        };
        let mut answer = Response::new(ResponseBody::Own(Full::from(text)));
        *answer.status_mut() = code;
        Some(answer)
    }

    /// A token of the `Authorization` header that is refused does not keep one of a WebSocket from
    /// being tried: both are the client's own, and kube-apiserver does the same.
    async fn authenticate(
        &self,
        settings: &Settings,
        credentials: &Credentials,
        path: &str,
    ) -> Result<Requester, Refusal> {
        let mut refused = None;
        for token in credentials.presented() {
            let token = match token {
                Ok(token) => token,
                Err(reason) => {
                    refused = Some(TokenError::Malformed(reason).into());
                    continue;
                }
            };
            match settings.authenticator.authenticate(token).await {
                Ok(verified) if self.forwards_tokens => {
                    // A verified token is text that a header can carry.
                    let own = Requester::with_own_token(verified, token);
                    return own.ok_or(Refusal::NoCredential { extra_space: false });
                }
                Ok(verified) => return Ok(Requester::Token(verified)),
                Err(error @ AuthenticationError::Reserved(_)) => return Err(error.into()),
                Err(error) => {
                    // What an issuer claims and refuses, nobody else is asked about.
                    let unclaimed =
                        matches!(error, AuthenticationError::Token(TokenError::Unclaimed));
                    if unclaimed && let Some(passed) = self.passed(settings, token).await? {
                        return Ok(Requester::Passed(passed));
                    }
                    refused = Some(error);
                }
            }
        }
        // Never instead of a credential that is there.
        if let Some(error) = refused {
            return Err(error.into());
        }
        let anonymous = settings.authenticator.anonymous();
        // That one would be impersonated.
        let anonymous = anonymous.filter(|_| !self.forwards_tokens);
        if let Some(user) = anonymous.filter(|user| user.may_ask_for(path)) {
            self.metrics.accepted("anonymous");
            return Ok(Requester::Anonymous(Arc::clone(user)));
        }
        let refusal = Refusal::NoCredential {
            extra_space: credentials.extra_space,
        };
        self.metrics.not_accepted("", refusal.metric_reason());
        Err(refusal)
    }

    /// A token that no issuer claims may still be one that the cluster knows.
    async fn passed(
        &self,
        settings: &Settings,
        token: &str,
    ) -> Result<Option<Arc<PassedToken>>, Refusal> {
        let passed = match &settings.passthrough {
            None => None,
            Some(passthrough) => {
                let reviewed = self.token_reviewer.review(token, passthrough).await;
                let reviewed = reviewed.map_err(Refusal::from);
                reviewed.inspect_err(|refusal| {
                    self.metrics.not_accepted("", refusal.metric_reason());
                })?
            }
        };
        match &passed {
            Some(_) => self.metrics.accepted("passthrough"),
            None => self
                .metrics
                .not_accepted("", TokenError::Unclaimed.metric_reason()),
        }
        Ok(passed)
    }
}
