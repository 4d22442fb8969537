//! `FaultyApi`: stands between a client and a real kube-apiserver and fails on demand.

mod scope;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::Result;
use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Upstream, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

use crate::{control_plane::ControlPlane, proxy::kubeconfig, tls};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Body = BoxBody<Bytes, Error>;
type Matches = Box<dyn Fn(&Asked) -> bool + Send + Sync>;

/// What goes wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// This status code, and `Retry-After: 1` with 429.
    Answer(u16),
    /// No answer ever.
    Hang,
    /// The connection ends before the API server has seen the request.
    Cut,
    /// The connection ends after the API server has done what it was asked to.
    LoseAnswer,
    /// A watch that begins too far in the past.
    Expired,
    /// The connection ends, and so does every one after it, as if the client had died: before its
    /// request, or after it.
    Die(bool),
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub target: String,
    /// When.
    pub at: Instant,
}

impl Asked {
    /// Whether it changes something that is stored; reviews, Events and the Lease do not count.
    pub fn is_write(&self) -> bool {
        let aside = ["accessreviews", "/events", "/leases"];
        self.method != Method::GET && !aside.iter().any(|part| self.target.contains(part))
    }

    /// Whether it is a watch.
    pub fn is_watch(&self) -> bool {
        self.target.contains("watch=true") || self.target.contains("watch=1")
    }
}

struct Rule {
    matches: Matches,
    fault: Fault,
    skip: usize,
    times: usize,
}

/// A running intermediary.
#[derive(Clone)]
pub struct FaultyApi {
    port: u16,
    state: Arc<State>,
}

struct State {
    target: String,
    namespace: Option<String>,
    upstream: Upstream<HttpsConnector<HttpConnector>, Full<Bytes>>,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Asked>>,
    dead: watch::Sender<bool>,
    cut: watch::Sender<u64>,
}

impl FaultyApi {
    /// In front of this control plane.
    pub fn start(plane: &ControlPlane) -> Result<Self> {
        Self::start_with(plane, None)
    }

    /// The same, but whoever asks for the `OidcProxies` of the whole cluster, or for the cluster's
    /// `ClusterRoles` and bindings, sees those of this namespace: several operators get along with each other.
    pub fn within(plane: &ControlPlane, namespace: &str) -> Result<Self> {
        Self::start_with(plane, Some(namespace.to_owned()))
    }

    /// On a thread of its own, for it outlives the tests.
    fn start_with(plane: &ControlPlane, namespace: Option<String>) -> Result<Self> {
        let config = tls::client_config(plane.ca_pem(), &[])?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only()
            .enable_http1()
            .build();
        let state = Arc::new(State {
            target: plane.url().to_owned(),
            namespace,
            upstream: Upstream::builder(TokioExecutor::new()).build(connector),
            rules: Mutex::default(),
            seen: Mutex::default(),
            dead: watch::channel(false).0,
            cut: watch::channel(0).0,
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let serving = Arc::clone(&state);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(serve(listener, serving));
        });
        Ok(Self { port, state })
    }

    /// A kubeconfig that leads here.
    pub fn kubeconfig(&self, token: &str) -> Value {
        let server = format!("http://127.0.0.1:{}", self.port);
        kubeconfig(&server, "", &json!({ "token": token }))
    }

    /// A client that asks here.
    pub async fn client(&self, token: &str) -> Result<Client> {
        let config: Kubeconfig = serde_json::from_value(self.kubeconfig(token))?;
        let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// The next `times` requests like this fail, after `skip` that do not.
    pub fn fail(
        &self,
        fault: Fault,
        skip: usize,
        times: usize,
        matches: impl Fn(&Asked) -> bool + Send + Sync + 'static,
    ) {
        self.state.rules.lock().unwrap().push(Rule {
            matches: Box::new(matches),
            fault,
            skip,
            times,
        });
    }

    /// Nothing fails any longer; how many failures were still to come.
    pub fn heal(&self) -> usize {
        let left = std::mem::take(&mut *self.state.rules.lock().unwrap());
        self.state.dead.send_replace(false);
        left.iter().map(|rule| rule.times).sum()
    }

    /// Ends every answer that is under way.
    pub fn cut_streams(&self) {
        self.state.cut.send_modify(|count| *count += 1);
    }

    /// Waits until [`Fault::Die`] has struck.
    pub async fn died(&self) {
        let mut dead = self.state.dead.subscribe();
        let _ = dead.wait_for(|dead| *dead).await;
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Asked> {
        self.state.seen.lock().unwrap().clone()
    }
}

async fn serve(listener: std::net::TcpListener, state: Arc<State>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&state), request));
            let io = TokioIo::new(stream);
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(io, service)
                .await;
        });
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Body>, Error> {
    let asked = Asked {
        method: request.method().clone(),
        target: request.uri().to_string(),
        at: Instant::now(),
    };
    state.seen.lock().unwrap().push(asked.clone());
    let fault = if *state.dead.borrow() {
        Some(Fault::Cut)
    } else {
        choose(&state, &asked)
    };
    match fault {
        None => forward(&state, request).await,
        Some(Fault::Answer(code)) => Ok(refusal(code)),
        Some(Fault::Hang) => {
            tokio::time::sleep(Duration::from_hours(1)).await;
            Err("hung".into())
        }
        Some(Fault::Cut) => Err("cut".into()),
        Some(Fault::LoseAnswer) => {
            forward(&state, request).await?;
            Err("lost".into())
        }
        Some(Fault::Expired) => Ok(expired()),
        Some(Fault::Die(after)) => {
            if after {
                forward(&state, request).await?;
            }
            state.dead.send_replace(true);
            Err("dead".into())
        }
    }
}

fn choose(state: &State, asked: &Asked) -> Option<Fault> {
    let mut rules = state.rules.lock().unwrap();
    let rule = rules
        .iter_mut()
        .find(|rule| rule.times > 0 && (rule.matches)(asked))?;
    if rule.skip > 0 {
        rule.skip -= 1;
        return None;
    }
    rule.times -= 1;
    Some(rule.fault)
}

async fn forward(state: &State, request: Request<Incoming>) -> Result<Response<Body>, Error> {
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let target = match &state.namespace {
        Some(namespace) => scope::narrow(&parts.method, &parts.uri, namespace),
        None => parts.uri.to_string(),
    };
    parts.uri = Uri::try_from(format!("{}{target}", state.target))?;
    parts.headers.remove("host");
    let request = Request::from_parts(parts, Full::new(body));
    let (parts, body) = state.upstream.request(request).await?.into_parts();
    let mut cut = state.cut.subscribe();
    cut.mark_unchanged();
    let frames = stream::unfold(Some((body, cut)), |open| async move {
        let (mut body, mut cut) = open?;
        tokio::select! {
            frame = body.frame() => {
                let frame: Result<Frame<Bytes>, Error> = frame?.map_err(Into::into);
                Some((frame, Some((body, cut))))
            }
            _ = cut.changed() => Some((Err("cut".into()), None)),
        }
    });
    Ok(Response::from_parts(parts, StreamBody::new(frames).boxed()))
}

fn refusal(code: u16) -> Response<Body> {
    let reason = match code {
        403 => "Forbidden",
        409 => "Conflict",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": "made up",
    });
    let mut response = Response::builder()
        .status(code)
        .header("content-type", "application/json");
    if code == 429 {
        response = response.header("retry-after", "1");
    }
    response.body(whole(&status)).unwrap()
}

fn expired() -> Response<Body> {
    let status = json!({"type": "ERROR", "object": {
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired",
        "message": "too old resource version",
    }});
    Response::builder()
        .header("content-type", "application/json")
        .body(whole(&status))
        .unwrap()
}

fn whole(value: &Value) -> Body {
    let text = format!("{value}\n");
    let body = Full::new(Bytes::from(text));
    body.map_err(|never: Infallible| match never {}).boxed()
}
