//! An issuer that does what a vector says.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use oidcproxy_tests::{
    server::{Body, free_port, full, serve},
    tls::TestCa,
};
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{keys::key, play::Fill, token, vector::Token};

const DISCOVERY: &str = "/.well-known/openid-configuration";

struct State {
    behaviour: Mutex<Map<String, Value>>,
    hits: Mutex<BTreeMap<String, usize>>,
    base: String,
    fill: Mutex<Option<Fill>>,
}

pub(crate) struct Idp {
    state: Arc<State>,
    port: u16,
    acceptor: tokio_rustls::TlsAcceptor,
    running: Mutex<Option<(CancellationToken, JoinHandle<()>)>>,
}

impl Idp {
    pub(crate) fn new(ca: &TestCa, behaviour: Map<String, Value>) -> Self {
        let port = free_port();
        let leaf = ca.server(&["127.0.0.1"]).unwrap();
        Self {
            state: Arc::new(State {
                behaviour: Mutex::new(behaviour),
                hits: Mutex::default(),
                base: format!("https://127.0.0.1:{port}"),
                fill: Mutex::default(),
            }),
            port,
            acceptor: leaf.acceptor(&[b"http/1.1"]).unwrap(),
            running: Mutex::default(),
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.state.base
    }

    pub(crate) fn hits(&self, path: &str) -> usize {
        self.state
            .hits
            .lock()
            .unwrap()
            .get(path)
            .copied()
            .unwrap_or_default()
    }

    /// Listens, unless it is said to be down.
    pub(crate) async fn start(&self, fill: Fill) {
        *self.state.fill.lock().unwrap() = Some(fill);
        if self.state.behaviour.lock().unwrap().get("down") == Some(&Value::Bool(true)) {
            return;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))
            .await
            .unwrap();
        let stop = CancellationToken::new();
        let state = Arc::clone(&self.state);
        let handler = move |request: Request<Incoming>| {
            let state = Arc::clone(&state);
            async move { state.answer(&request) }
        };
        let server = serve(
            listener,
            self.acceptor.clone(),
            stop.clone(),
            Duration::ZERO,
            handler,
        );
        *self.running.lock().unwrap() = Some((stop, tokio::spawn(server)));
    }

    /// Changes the behaviour.
    pub(crate) async fn set(&self, changes: &Map<String, Value>) {
        self.state.behaviour.lock().unwrap().extend(changes.clone());
        if changes.get("down") == Some(&Value::Bool(true)) {
            let running = self.running.lock().unwrap().take();
            if let Some((stop, task)) = running {
                stop.cancel();
                let _ = task.await;
            }
        }
    }
}

impl Drop for Idp {
    fn drop(&mut self) {
        if let Some((stop, task)) = self.running.lock().unwrap().take() {
            stop.cancel();
            task.abort();
        }
    }
}

impl State {
    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        *self.hits.lock().unwrap().entry(path.clone()).or_default() += 1;
        let behaviour = self.behaviour.lock().unwrap().clone();
        let fill = self.fill.lock().unwrap().clone().unwrap();
        let text = |name: &str| {
            behaviour
                .get(name)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let status = |name: &str| behaviour.get(name).and_then(Value::as_u64).unwrap_or(200);
        if path == text("discovery_path").as_deref().unwrap_or(DISCOVERY) {
            let body = text("discovery_raw").unwrap_or_else(|| self.discovery(&behaviour, &fill));
            return respond(
                status("discovery_status"),
                body,
                behaviour.get("discovery_headers"),
            );
        }
        if path == "/keys" {
            let body = text("jwks_raw").unwrap_or_else(|| jwks(&behaviour));
            return respond(status("jwks_status"), body, behaviour.get("jwks_headers"));
        }
        let endpoints = behaviour.get("endpoints").and_then(Value::as_array);
        let endpoint = endpoints
            .into_iter()
            .flatten()
            .find(|endpoint| endpoint["path"] == path.as_str());
        endpoint.map_or_else(
            || respond(404, "not found".to_owned(), None),
            |endpoint| call(endpoint, request, &fill),
        )
    }

    fn discovery(&self, behaviour: &Map<String, Value>, fill: &Fill) -> String {
        let mut document = json!({"issuer": self.base, "jwks_uri": format!("{}/keys", self.base)});
        let document = document.as_object_mut().unwrap();
        let changes = behaviour.get("discovery").and_then(Value::as_object);
        for (name, value) in changes.into_iter().flatten() {
            if value.is_null() {
                document.remove(name);
            } else {
                document.insert(name.clone(), value.clone());
            }
        }
        fill.text(&Value::Object(document.clone()).to_string())
    }
}

fn jwks(behaviour: &Map<String, Value>) -> String {
    let default = json!([{"key": "rsa-a", "kid": "a", "alg": "RS256", "use": "sig"}]);
    let entries = behaviour
        .get("jwks")
        .unwrap_or(&default)
        .as_array()
        .unwrap()
        .clone();
    let keys: Vec<_> = entries.into_iter().map(expanded).collect();
    json!({"keys": keys}).to_string()
}

fn expanded(mut entry: Value) -> Value {
    let Some(members) = entry.as_object_mut() else {
        return entry;
    };
    let Some(Value::String(name)) = members.remove("key") else {
        return entry;
    };
    let mut jwk = key(&name).jwk();
    let whole = jwk.as_object_mut().unwrap();
    if members.remove("with_private") == Some(Value::Bool(true)) {
        whole.insert("d".to_owned(), json!("AQAB"));
    }
    whole.extend(members.clone());
    jwk
}

fn call(endpoint: &Value, request: &Request<Incoming>, fill: &Fill) -> Response<Body> {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if given != endpoint["expect_authorization"].as_str() {
        return respond(401, "not with this authorization".to_owned(), None);
    }
    if let Some(location) = endpoint["redirect"].as_str() {
        let headers = json!({"Location": fill.text(location)});
        return respond(
            endpoint["status"].as_u64().unwrap_or(302),
            String::new(),
            Some(&headers),
        );
    }
    let body = match endpoint.get("token") {
        Some(described) => {
            let described: Token = serde_json::from_value(described.clone()).unwrap();
            token::build(&described, fill)
        }
        None => fill.text(endpoint["body"].as_str().unwrap_or_default()),
    };
    respond(
        endpoint["status"].as_u64().unwrap_or(200),
        body,
        endpoint.get("headers"),
    )
}

fn respond(status: u64, body: String, headers: Option<&Value>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = StatusCode::from_u16(u16::try_from(status).unwrap()).unwrap();
    for (name, value) in headers.and_then(Value::as_object).into_iter().flatten() {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        let value = HeaderValue::from_str(value.as_str().unwrap()).unwrap();
        response.headers_mut().insert(name, value);
    }
    response
}
