//! CPU time of a plain GET with a known token: the proxy beside a bare forwarder, in turns, in one run.

use std::{fs, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use oidcproxy_bench::{InstantServer, cpu_time, load};
use oidcproxy_tests::{
    client::{Call, Client, Protocol},
    issuer::FakeIssuer,
    process::Process,
    proxy::{ProxyUnderTest, Setup},
    server::free_port,
    tls::TestCa,
};
use tempfile::TempDir;
use tokio::{net::TcpStream, time::sleep};

const ROUNDS: usize = 5;
const REQUESTS: usize = 10_000;
/// What is asked of the proxy.
const LIMIT: f64 = 2.0;

struct Bare {
    process: Process,
    client: Client,
    _dir: TempDir,
}

async fn bare(upstream: &InstantServer) -> Result<Bare> {
    let dir = tempfile::tempdir()?;
    let ca = TestCa::new("forwarder CA")?;
    let leaf = ca.server(&["127.0.0.1"])?;
    fs::write(dir.path().join("tls.crt"), &leaf.cert_pem)?;
    fs::write(dir.path().join("tls.key"), &leaf.key_pem)?;
    fs::write(dir.path().join("upstream-ca.crt"), &upstream.ca_pem)?;
    let port = free_port();
    let program = std::env::current_exe()?.with_file_name("bare-forwarder");
    let folder = dir.path().display().to_string();
    let args = [port.to_string(), folder, upstream.authority.clone()];
    let process = Process::start(Path::new(&program), &args, &[])?;
    let mut attempts = 0;
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        attempts += 1;
        anyhow::ensure!(attempts < 500, "{}", process.output());
        sleep(Duration::from_millis(20)).await;
    }
    Ok(Bare {
        process,
        client: Client::new(port, ca.pem()),
        _dir: dir,
    })
}

async fn proxy(upstream: &InstantServer, issuer: &FakeIssuer) -> Result<ProxyUnderTest> {
    let url = format!("https://{}", upstream.authority);
    let setup = Setup::with_upstream(&url, &upstream.ca_pem, issuer);
    setup.start(issuer).await
}

/// Microseconds of CPU time for one request.
async fn measure(process: u32, client: &Client, protocol: Protocol, call: &Call) -> Result<f64> {
    let before = cpu_time(process)?;
    load(client, protocol, call, REQUESTS).await?;
    let taken = cpu_time(process)?.saturating_sub(before);
    let requests = u32::try_from(REQUESTS)?;
    Ok((taken / requests).as_secs_f64() * 1e6)
}

fn median(mut values: Vec<f64>) -> Result<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().context("no values")
}

async fn run() -> Result<bool> {
    let upstream = InstantServer::start().await?;
    let issuer = FakeIssuer::start().await?;
    let bare = bare(&upstream).await?;
    let proxy = proxy(&upstream, &issuer).await?;
    let groups: Vec<String> = (0..20).map(|n| format!("team-{n}")).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let call = Call::get("/api/v1/namespaces/default/pods?limit=500")
        .bearer(&issuer.token("alice", &groups))
        .header("accept", "application/json")
        .header("user-agent", "bench/1.0 (linux/amd64)");

    println!("CPU time of a GET, µs (median of {ROUNDS} turns of {REQUESTS} requests)");
    println!(
        "{:<10}{:>16}{:>14}{:>8}",
        "client", "bare forwarder", "oidc-proxy", "ratio"
    );
    let mut good = true;
    for (name, protocol) in [("HTTP/1.1", Protocol::H1), ("HTTP/2", Protocol::H2)] {
        let (mut of_bare, mut of_proxy) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let one = measure(bare.process.id(), &bare.client, protocol, &call).await?;
            let other = measure(proxy.process.id(), &proxy.client(), protocol, &call).await?;
            // The first turn fills caches and pools.
            if round > 0 {
                of_bare.push(one);
                of_proxy.push(other);
            }
        }
        let (of_bare, of_proxy) = (median(of_bare)?, median(of_proxy)?);
        let ratio = of_proxy / of_bare;
        good &= ratio <= LIMIT;
        println!("{name:<10}{of_bare:>16.1}{of_proxy:>14.1}{ratio:>8.2}");
    }
    println!("asked: at most {LIMIT:.1}");
    Ok(good)
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("oidcproxy-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
