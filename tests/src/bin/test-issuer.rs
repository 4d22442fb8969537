//! `test-issuer`: the OIDC issuer of the demo.

use std::process::ExitCode;

use clap::Parser as _;
use oidcproxy_tests::demo_issuer::{Args, run};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let stop = CancellationToken::new();
    let stopper = stop.clone();
    tokio::spawn(async move {
        let (Ok(mut term), Ok(mut int)) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        ) else {
            return;
        };
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        stopper.cancel();
    });
    match run(args, stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("test-issuer: {error:#}");
            ExitCode::FAILURE
        }
    }
}
