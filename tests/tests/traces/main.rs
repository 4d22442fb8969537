//! Traces of a build with the feature `otel`: `OIDC_PROXY_BIN` names it, `make test-traces` does.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod collector;

use std::time::Duration;

use oidcproxy_tests::{
    api_server::Answer,
    bed::Bed,
    client::{Call, Protocol},
    proxy::Setup,
};

use crate::collector::FakeCollector;

const PODS: &str = "/api/v1/namespaces/shop/pods";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
/// Of protobuf's `SpanKind`.
const SERVER: i32 = 2;
const CLIENT: i32 = 3;

fn to(setup: Setup, collector: &FakeCollector) -> Setup {
    setup
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
        .env(
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            collector.certificate().to_str().unwrap(),
        )
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
}

async fn bed(collector: &FakeCollector) -> Bed {
    Bed::with(|setup, _| to(setup, collector)).await
}

fn traced(token: &str, sampled: bool) -> Call {
    let flags = if sampled { "01" } else { "00" };
    Call::get(&format!("{PODS}?labelSelector=secret-query"))
        .bearer(token)
        .header("traceparent", format!("00-{TRACE}-{PARENT}-{flags}"))
        .header("tracestate", "vendor=1")
}

#[tokio::test]
async fn a_request_is_a_span_in_its_clients_trace() {
    let collector = FakeCollector::start().await.unwrap();
    for protocol in Protocol::BOTH {
        let bed = bed(&collector).await;
        let token = bed.token("alice-the-user", &["dev"]);
        let seen_before = collector.spans().len();
        let reply = bed.send(protocol, traced(&token, true)).await;
        reply.assert_status(200);
        let audit_id = reply.headers["audit-id"].to_str().unwrap().to_owned();

        let is_ours =
            |span: &collector::Span| span.attributes.get("kubernetes.audit_id") == Some(&audit_id);
        let server = collector.span(is_ours).await.unwrap();
        assert_eq!((server.trace.as_str(), server.kind), (TRACE, SERVER));
        assert_eq!((server.parent.as_str(), server.is_error), (PARENT, false));
        let said = |name: &str| server.attributes[name].as_str();
        assert_eq!(server.name, "GET");
        assert_eq!(said("http.request.method"), "GET");
        assert_eq!(said("url.path"), PODS);
        assert_eq!(said("kubernetes.verb"), "list");
        assert_eq!(said("http.response.status_code"), "200");
        assert_eq!(said("service.name"), "oidc-proxy");
        let version = said("network.protocol.version");
        assert_eq!(version == "2", protocol == Protocol::H2, "{version}");

        let child = |name: &'static str, parent: String| {
            collector.span(move |span| span.name == name && span.parent == parent)
        };
        child("authenticate", server.id.clone()).await.unwrap();
        let upstream = child("upstream", server.id.clone()).await.unwrap();
        assert_eq!((upstream.trace.as_str(), upstream.kind), (TRACE, CLIENT));
        assert_eq!(upstream.attributes["http.response.status_code"], "200");

        let forwarded = bed.api.only();
        assert_eq!(
            forwarded.value("traceparent").unwrap(),
            format!("00-{TRACE}-{}-01", upstream.id)
        );
        assert_eq!(forwarded.value("tracestate").unwrap(), "vendor=1");

        let names: Vec<_> = collector.spans().split_off(seen_before);
        assert_eq!(names.len(), 3, "{names:#?}");
        assert!(collector.has_heard(PODS));
        for secret in [token.as_str(), "alice-the-user", "secret-query"] {
            assert!(!collector.has_heard(secret), "{secret} is in a span");
        }
    }
}

#[tokio::test]
async fn acting_as_somebody_is_a_step_of_its_own() {
    let collector = FakeCollector::start().await.unwrap();
    let bed = bed(&collector).await;
    bed.api
        .reviews()
        .allow_impersonate("alice", "", "users", "bob");
    let call = traced(&bed.token("alice", &[]), true).header("impersonate-user", "bob");
    bed.send(Protocol::H2, call).await.assert_status(200);
    let server = collector.span(|span| span.kind == SERVER).await.unwrap();
    let review = collector.span(|span| span.name == "review").await.unwrap();
    assert_eq!((review.parent, review.is_error), (server.id, false));

    let call = traced(&bed.token("alice", &[]), true).header("impersonate-user", "carol");
    bed.send(Protocol::H2, call).await.assert_status(403);
    let is_refused = |span: &collector::Span| span.name == "review" && span.is_error;
    collector.span(is_refused).await.unwrap();
}

#[tokio::test]
async fn refusals_and_faults_say_why() {
    let collector = FakeCollector::start().await.unwrap();
    let bed = bed(&collector).await;
    bed.send(Protocol::H1, Call::get(PODS))
        .await
        .assert_status(401);
    let refused = collector.span(|span| span.kind == SERVER).await.unwrap();
    assert_eq!(refused.attributes["http.response.status_code"], "401");
    assert!(refused.attributes.contains_key("error.type"), "{refused:?}");
    assert!(!refused.is_error, "a client's mistake is not the server's");
    assert_eq!(refused.parent, "", "a request without a trace begins one");

    bed.api
        .answer(PODS, Answer::Raw(b"nonsense\r\n\r\n".to_vec()));
    let token = bed.token("alice", &[]);
    bed.send(Protocol::H1, traced(&token, true))
        .await
        .assert_status(502);
    let failed = collector.span(|span| span.trace == TRACE && span.kind == SERVER);
    let failed = failed.await.unwrap();
    assert!(failed.is_error, "{failed:?}");
    let upstream = collector
        .span(|span| span.name == "upstream")
        .await
        .unwrap();
    assert!(upstream.is_error, "{upstream:?}");
}

#[tokio::test]
async fn the_clients_sampling_is_kept() {
    let collector = FakeCollector::start().await.unwrap();
    let bed = bed(&collector).await;
    let token = bed.token("alice", &[]);
    bed.send(Protocol::H1, traced(&token, false))
        .await
        .assert_status(200);
    let parent = bed.api.only().value("traceparent").unwrap();
    assert!(parent.starts_with(&format!("00-{TRACE}-")), "{parent}");
    assert!(parent.ends_with("-00"), "{parent}");

    // Its span would have been in the same batch.
    let garbage = Call::get(PODS)
        .bearer(&token)
        .header("traceparent", "00-nonsense")
        .header("tracestate", "vendor=1");
    bed.send(Protocol::H1, garbage).await.assert_status(200);
    let fresh = collector.span(|span| span.kind == SERVER).await.unwrap();
    assert_eq!(fresh.parent, "");
    assert!(collector.spans().iter().all(|span| span.trace != TRACE));
    let forwarded = bed.api.forwarded().pop().unwrap();
    let parent = forwarded.value("traceparent").unwrap();
    assert!(
        parent.starts_with(&format!("00-{}-", fresh.trace)),
        "{parent}"
    );
    assert_eq!(forwarded.value("tracestate"), None);
}

#[tokio::test]
async fn the_sampler_is_the_environments() {
    let collector = FakeCollector::start().await.unwrap();
    let bed = Bed::with(|setup, _| {
        to(setup, &collector)
            .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
            .env("OTEL_TRACES_SAMPLER_ARG", "0")
    })
    .await;
    let token = bed.token("alice", &[]);
    bed.get_with(Protocol::H1, &token).await.assert_status(200);
    bed.send(Protocol::H1, traced(&token, true))
        .await
        .assert_status(200);
    collector.span(|span| span.kind == SERVER).await.unwrap();
    assert!(collector.spans().iter().all(|span| span.trace == TRACE));
}

#[tokio::test]
async fn without_a_collector_the_context_passes_through() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &[]);
    bed.send(Protocol::H2, traced(&token, true))
        .await
        .assert_status(200);
    let forwarded = bed.api.only();
    assert_eq!(
        forwarded.value("traceparent").unwrap(),
        format!("00-{TRACE}-{PARENT}-01")
    );
    assert_eq!(forwarded.value("tracestate").unwrap(), "vendor=1");
}

#[tokio::test]
async fn the_last_spans_are_sent_before_the_end() {
    let collector = FakeCollector::start().await.unwrap();
    let mut bed = Bed::with(|setup, _| {
        to(setup, &collector)
            .env("OTEL_BSP_SCHEDULE_DELAY", "600000")
            .flag("--drain-delay=0")
    })
    .await;
    let token = bed.token("alice", &[]);
    bed.send(Protocol::H1, traced(&token, true))
        .await
        .assert_status(200);
    assert!(collector.spans().is_empty());
    bed.proxy.terminate().unwrap();
    let ended = bed.proxy.process.wait(Duration::from_secs(15)).await;
    assert!(ended.unwrap().success());
    assert_eq!(collector.spans().len(), 3, "{:#?}", collector.spans());
}

#[tokio::test]
async fn a_collector_that_is_silent_holds_up_nothing() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let mut bed = Bed::with(|setup, _| {
        setup
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
            .env("OTEL_BSP_SCHEDULE_DELAY", "50")
            .env("OTEL_BSP_MAX_QUEUE_SIZE", "8")
            .flag("--drain-delay=0")
            .flag("--drain-deadline=1")
    })
    .await;
    let token = bed.token("alice", &[]);
    for _ in 0..50 {
        bed.get_with(Protocol::H1, &token).await.assert_status(200);
    }
    bed.proxy.terminate().unwrap();
    // The drain's deadline, or the five seconds that last events have at least.
    let ended = bed.proxy.process.wait(Duration::from_secs(9)).await;
    assert!(ended.unwrap().success());
}

#[tokio::test]
async fn a_way_that_cannot_be_used_is_said_at_the_start() {
    let started = Bed::try_with(|setup, _| {
        setup
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    });
    let error = started.await.err().expect("it should not start");
    let error = format!("{error:#}");
    assert!(error.contains("\"grpc\" is not http/protobuf"), "{error}");
}
