//! The parts of the proxy and how they hang together.

use std::{future::pending, process::ExitCode, sync::Arc, time::Duration};

use kube::Client;
use oidcproxy_crds::v1alpha1::settings::{AuditSettings, DrainSettings};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use tokio_util::task::TaskTracker;

use crate::{
    admin::Admin,
    args::Args,
    audit::{AccessLog, AuditBackends, Trail},
    authn::TokenReviewer,
    cluster,
    descriptors::Descriptors,
    drain::Drain,
    forward::{Streams, Upstream},
    impersonate::Reviewer,
    metrics::Metrics,
    pipeline::Pipeline,
    readiness::Readiness,
    server::{Admission, Server, ServerTls, ServingCertificate, bind},
    settings::{FlagError, SettingsStore, base_settings, egress_proxy, follow_file, follow_status},
    telemetry,
    traces::Traces,
};

/// What audit events and spans have at least to reach their receivers when we leave.
const LAST_EVENTS: Duration = Duration::from_secs(5);

/// Runs the proxy until a signal ends it. What keeps it from starting is one line on standard
/// error and a code other than zero.
pub fn run(args: Args) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("oidc-proxy: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(serve(args));
    // Dropped, it would wait without end for the log's thread, which a reader of our output that
    // stands still holds up.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oidc-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let _written_at_the_end = telemetry::start(&args.log_level)?;
    let traces = Traces::start()?;
    let metrics = Metrics::new();
    let drain = Drain::default();
    let config = cluster::config(args.kubeconfig.as_deref()).await?;
    let certificate = ServingCertificate::follow(args.certificate(), Arc::clone(&metrics)).await?;
    let tls = Arc::new(ServerTls::new(Arc::clone(&certificate))?);
    let descriptors = Descriptors::claim();
    let upstream = Upstream::new(&config, descriptors.requests).await?;
    let client = upstream.own_client(&config)?;
    let (access_log, log_thread) = AccessLog::start(Arc::clone(&metrics))?;
    let mut audit = AuditBackends::new(&access_log, args.mounts.clone(), Arc::clone(&metrics));
    let audit_settings = audit_settings(&args, &mut audit).await?;
    let audit = Arc::new(audit);
    let store = SettingsStore::new(Arc::clone(&metrics), Arc::clone(&audit));
    let readiness = Readiness::new(Arc::clone(&store), drain.clone());
    let admin_listener = bind(args.bind_address, args.readiness_probe_port)?;
    let listener = bind(args.bind_address, args.secure_port)?;
    follow_settings(&args, audit_settings, &client, &store).await?;
    follow_tls_version(Arc::clone(&store), Arc::clone(&tls));

    let streams = Streams {
        tasks: TaskTracker::new(),
        end: drain.end.clone(),
    };
    let trail = Trail::new(
        access_log,
        drain.clone(),
        Arc::clone(&metrics),
        traces.clone(),
    );
    let admin = Arc::new(Admin {
        settings: Arc::clone(&store),
        certificate,
        readiness: readiness.clone(),
        drain: drain.clone(),
        metrics: Arc::clone(&metrics),
    });
    let admin = tokio::spawn(admin.run(admin_listener));
    let server = Arc::new(Server {
        tls,
        pipeline: Arc::new(Pipeline {
            settings: Arc::clone(&store),
            upstream,
            token_reviewer: TokenReviewer::new(client.clone(), Arc::clone(&metrics)),
            reviewer: Reviewer::new(client, Arc::clone(&metrics)),
            trail,
            streams: streams.clone(),
            drain: drain.clone(),
            readiness,
            metrics: Arc::clone(&metrics),
            forwards_tokens: args.request_path.disable_impersonation,
        }),
        drain: drain.clone(),
        metrics,
        connections: TaskTracker::new(),
        admission: Arc::new(Admission::default()),
        places: descriptors.clients,
    });
    let serving = tokio::spawn(Arc::clone(&server).run(listener));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        port = args.secure_port,
        "serving"
    );

    until_asked_to_leave().await?;
    let DrainSettings {
        delay_seconds,
        deadline_seconds,
    } = store
        .current()
        .map_or_else(|| args.drain(), |settings| settings.drain);
    let settled = async {
        // The listener's task closes the tracker, so it must have ended before the wait.
        let _ = serving.await;
        server.connections.wait().await;
        streams.tasks.close();
        streams.tasks.wait().await;
    };
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let end = Instant::now() + seconds(delay_seconds) + seconds(deadline_seconds);
    let leave = drain.run(seconds(delay_seconds), seconds(deadline_seconds), settled);
    tokio::select! {
        () = leave => {}
        // Whoever asks twice means now.
        again = until_asked_to_leave() => again?,
    }
    admin.abort();
    drop(server);
    // Cut tasks still hold the log for a moment; lines that were decided should be written.
    let _ = tokio::time::timeout(
        Duration::from_secs(2),
        tokio::task::spawn_blocking(move || log_thread.join()),
    )
    .await;
    close(&audit, traces, end.max(Instant::now() + LAST_EVENTS)).await;
    Ok(())
}

/// What still waits goes where it is to go.
async fn close(audit: &AuditBackends, traces: Traces, end: Instant) {
    let audited = async {
        if tokio::time::timeout_at(end, audit.close()).await.is_err() {
            tracing::error!("the deadline is over: audit events that still wait are lost");
        }
    };
    tokio::join!(audited, traces.close(end));
}

async fn audit_settings(
    args: &Args,
    backends: &mut AuditBackends,
) -> anyhow::Result<Option<AuditSettings>> {
    if args.oidc_proxy.is_some() && args.audit.are_given() {
        anyhow::bail!("--oidc-proxy and the --audit flags exclude each other");
    }
    if args.oidc_proxy.is_some() && args.oidc.are_given() {
        anyhow::bail!("--oidc-proxy and the --oidc flags exclude each other");
    }
    Ok(args.audit.settings(backends).await?)
}

async fn follow_settings(
    args: &Args,
    audit: Option<AuditSettings>,
    client: &Client,
    store: &Arc<SettingsStore>,
) -> anyhow::Result<()> {
    if let Some(name) = &args.oidc_proxy {
        tokio::spawn(follow_status(
            client.clone(),
            name.clone(),
            Arc::clone(store),
        ));
        return Ok(());
    }
    let groups = args.allow_reserved_groups.clone();
    let mut base = base_settings(groups, args.drain(), args.logging())?;
    base.authentication.disallowed_issuers = args.service_account_issuer.clone();
    base.authentication.http_proxy = egress_proxy(|name| std::env::var(name).ok());
    base.audit = audit;
    let base = args.request_path.apply(base)?;
    match &args.authentication_config {
        Some(_) if args.oidc.are_given() => {
            anyhow::bail!("--authentication-config and the --oidc flags exclude each other")
        }
        Some(path) => follow_file(path.clone(), base, Arc::clone(store)).await?,
        None if args.oidc.are_given() => store.publish(args.oidc.settings(base)?.sealed()?)?,
        None => return Err(FlagError::NoSource.into()),
    }
    Ok(())
}

fn follow_tls_version(store: Arc<SettingsStore>, tls: Arc<ServerTls>) {
    let mut exchanges = store.exchanges();
    tokio::spawn(async move {
        loop {
            if let Some(settings) = store.current()
                && let Err(error) = tls.set_min_version(settings.min_tls_version)
            {
                tracing::error!(%error, "the TLS configuration stays as it is");
            }
            if exchanges.changed().await.is_err() {
                pending::<()>().await;
            }
        }
    });
}

async fn until_asked_to_leave() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
