//! `FakeWebhook`: takes audit events as `EventList`s, or refuses them for a while.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::{net::TcpListener, sync::Notify, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    proxy::kubeconfig,
    server::{Body, full, serve},
    tls::TestCa,
};

/// The token that it asks for.
const TOKEN: &str = "webhook-secret-token";

#[derive(Default)]
struct Shared {
    batches: Mutex<Vec<Value>>,
    refusals: AtomicU32,
    refused: AtomicU32,
    pause: Mutex<Duration>,
    changed: Notify,
}

/// The webhook. It stops when dropped.
pub struct FakeWebhook {
    address: SocketAddr,
    ca: TestCa,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

impl FakeWebhook {
    /// Starts it on a loopback port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let ca = TestCa::new("webhook CA")?;
        let tls = ca.server(&["127.0.0.1"])?.acceptor(&[b"http/1.1"])?;
        let shared = Arc::<Shared>::default();
        let stop = CancellationToken::new();
        let handler = {
            let shared = shared.clone();
            move |request| answer(shared.clone(), request)
        };
        tokio::spawn(serve(listener, tls, stop.clone(), Duration::ZERO, handler));
        Ok(Self {
            address,
            ca,
            shared,
            _stop: stop.drop_guard(),
        })
    }

    /// A kubeconfig that leads to it.
    pub fn kubeconfig(&self) -> String {
        let server = format!("https://{}/audit/events", self.address);
        let user = serde_json::json!({"token": TOKEN});
        kubeconfig(&server, &self.ca.pem(), &user).to_string()
    }

    /// So many requests are answered with 503.
    pub fn refuse(&self, requests: u32) {
        self.shared.refusals.store(requests, Ordering::SeqCst);
    }

    /// Every answer takes so long.
    pub fn pause(&self, pause: Duration) {
        *self.shared.pause.lock().unwrap() = pause;
    }

    /// How many requests were answered with 503.
    pub fn refused(&self) -> u32 {
        self.shared.refused.load(Ordering::SeqCst)
    }

    /// The `EventList`s so far.
    pub fn batches(&self) -> Vec<Value> {
        self.shared.batches.lock().unwrap().clone()
    }

    /// The events so far.
    pub fn events(&self) -> Vec<Value> {
        let items = |batch: Value| batch["items"].as_array().cloned().unwrap_or_default();
        self.batches().into_iter().flat_map(items).collect()
    }

    /// Waits for an event that matches.
    pub async fn event(&self, matches: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let changed = self.shared.changed.notified();
            if let Some(event) = self.events().into_iter().find(&matches) {
                return Ok(event);
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                bail!("no such event within a minute: {:#?}", self.events());
            }
        }
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let status = |code: u16| {
        let mut response = Response::new(full(Bytes::new()));
        *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
        response
    };
    let is_asked_well = request.method() == http::Method::POST
        && request.uri().path_and_query().map(ToString::to_string)
            == Some("/audit/events".to_owned());
    if !is_asked_well {
        return status(404);
    }
    let authorization = request.headers().get("authorization").cloned();
    if authorization.is_none_or(|value| value != format!("Bearer {TOKEN}")) {
        return status(401);
    }
    let pause = *shared.pause.lock().unwrap();
    tokio::time::sleep(pause).await;
    let left = shared
        .refusals
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        });
    if left.is_ok() {
        shared.refused.fetch_add(1, Ordering::SeqCst);
        return status(503);
    }
    let Ok(body) = request.into_body().collect().await else {
        return status(400);
    };
    let Ok(batch) = serde_json::from_slice(&body.to_bytes()) else {
        return status(400);
    };
    shared.batches.lock().unwrap().push(batch);
    shared.changed.notify_waiters();
    status(200)
}
