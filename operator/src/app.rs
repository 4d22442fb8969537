//! Wires the parts together.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{self, Admin},
    args::{Args, Task},
    controller::{Context, options::Options, sweep, watch},
    events::Events,
    lease::Elector,
    metrics::Metrics,
    uninstall,
};

/// As long as passes under way may take once the operator is told to stop: within its pod's grace,
/// and with time left to give the Lease back.
const FAREWELL: Duration = Duration::from_secs(15);

/// Does what the arguments say.
pub async fn run(args: Args) -> anyhow::Result<()> {
    match args.task {
        None => operate(args).await,
        Some(Task::Uninstall {
            policy,
            timeout_seconds,
        }) => {
            let client =
                Client::try_from(configuration().await?).context("no client for the API server")?;
            let limit = Duration::from_secs(timeout_seconds);
            Ok(uninstall::run(&client, policy, limit).await?)
        }
    }
}

async fn configuration() -> anyhow::Result<Config> {
    // Fails only when another part has installed one already; then there is one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let inferred = Config::infer().await;
    inferred.map_err(|error| {
        // Without the lines of a kubeconfig that its parser shows after that: there may be a token in them.
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        anyhow!("no configuration for the API server: {line}")
    })
}

/// Runs until a signal, or until the lead is lost.
async fn operate(args: Args) -> anyhow::Result<()> {
    let config = configuration().await?;
    let parts = args.into_parts(&config.default_namespace)?;
    let client = Client::try_from(config).context("no client for the API server")?;
    let metrics = Metrics::default();
    let admin = Admin {
        metrics: metrics.clone(),
        ready: Arc::default(),
    };
    let ready = Arc::clone(&admin.ready);
    let listener = admin::bind(parts.metrics_port)
        .await
        .with_context(|| format!("cannot listen on port {}", parts.metrics_port))?;
    tokio::spawn(admin.serve(listener));
    let stop = stop_on_signal()?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespaces = ?parts.options.namespaces,
        identity = parts.identity,
        "started"
    );

    let namespace = &parts.options.operator_namespace;
    let mut elector = Elector::new(
        client.clone(),
        namespace,
        &parts.lease_name,
        &parts.identity,
    );
    tokio::select! {
        () = elector.acquire(|| ready.store(true, Ordering::Relaxed)) => {}
        () = stop.cancelled() => return Ok(()),
    }
    metrics.set_leader(true);
    let events = Events::new(client.clone(), &parts.identity);
    let told = stop.clone();
    let led = lead(client, parts.options, events, metrics, stop);
    let farewell = async {
        told.cancelled().await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        // Whatever is under way is dropped at once: from here on another may lead.
        () = elector.hold() => bail!("the lead is lost"),
        () = led => {}
        () = farewell => tracing::warn!("passes under way are dropped"),
    }
    elector.release().await;
    tracing::info!("stopped");
    Ok(())
}

async fn lead(
    client: Client,
    options: Options,
    events: Events,
    metrics: Metrics,
    stop: CancellationToken,
) {
    tracing::info!("leading");
    let context = Arc::new(Context::new(client.clone(), options, events, metrics));
    tokio::select! {
        () = watch::run(context, stop) => {}
        () = sweep::run(&client) => {}
    }
}

fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("no signal handler")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("no signal handler")?;
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop");
        told.cancel();
    });
    Ok(stop)
}
