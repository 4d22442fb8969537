//! What the benchmarks share: a server that answers at once, load on a proxy, and the CPU time that it took for it.

// A step that fails ends the benchmark.
#![allow(clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use std::{fs, net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use http::Response;
use oidcproxy_tests::{
    client::{Call, Client, Protocol},
    server::{free_port, full, serve},
    tls::TestCa,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Requests under way at a time.
pub const CONCURRENCY: usize = 8;

/// An API server that answers every request with the same list.
pub struct InstantServer {
    /// `127.0.0.1:<port>`.
    pub authority: String,
    /// The root of its certificate, PEM.
    pub ca_pem: String,
    stop: CancellationToken,
}

impl InstantServer {
    /// Starts it.
    pub async fn start() -> Result<Self> {
        let ca = TestCa::new("upstream CA")?;
        let tls = ca.server(&["127.0.0.1"])?.acceptor(&[b"http/1.1"])?;
        let port = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let stop = CancellationToken::new();
        let body = format!(
            r#"{{"kind":"PodList","apiVersion":"v1","items":[],"x":"{}"}}"#,
            "a".repeat(2048)
        );
        let answer = move |_| {
            let response = Response::builder()
                .header("content-type", "application/json")
                .body(full(body.clone()))
                .expect("a response");
            async move { response }
        };
        tokio::spawn(serve(listener, tls, stop.clone(), Duration::ZERO, answer));
        Ok(Self {
            authority: format!("127.0.0.1:{port}"),
            ca_pem: ca.pem(),
            stop,
        })
    }
}

impl Drop for InstantServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Sends `count` requests and expects 200 for each.
pub async fn load(client: &Client, protocol: Protocol, call: &Call, count: usize) -> Result<()> {
    match protocol {
        Protocol::H1 => {
            let each = (0..CONCURRENCY).map(|_| async {
                let mut connection = client.connect(Protocol::H1).await?;
                for _ in 0..count / CONCURRENCY {
                    let reply = connection.send(call.clone()).await?;
                    anyhow::ensure!(reply.status == 200, "{reply:?}");
                }
                Ok(())
            });
            try_join_all(each).await?;
        }
        Protocol::H2 => {
            let mut connection = client.connect(Protocol::H2).await?;
            for _ in 0..count / CONCURRENCY {
                let calls = vec![call.clone(); CONCURRENCY];
                for reply in connection.send_all(calls).await? {
                    anyhow::ensure!(reply.status == 200, "{reply:?}");
                }
            }
        }
    }
    Ok(())
}

/// The CPU time of a process so far, user and system, by the scheduler's own count.
pub fn cpu_time(process: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let ran = text.split(' ').next().context("schedstat is empty")?;
        nanoseconds += ran.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}
