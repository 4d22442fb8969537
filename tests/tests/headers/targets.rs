//! Where a request goes, and what of its line and its trace arrives there.

use oidcproxy_tests::{
    bed::Bed,
    client::{Call, Protocol},
};

use super::{PODS, assert_identity};

#[tokio::test]
async fn paths_and_queries_arrive_byte_for_byte() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &["dev"]);
    let bearer = format!("Authorization: Bearer {token}");
    let targets = [
        "/",
        "/api/v1/namespaces/a%2fb/pods/c%2Fd",
        "//api//v1/",
        "/api/../secret",
        "/api/./v1/..",
        "/api/%2e%2e/%2E./x",
        "/a;b=c/d;e",
        "/a%00b%0d%0ac",
        "/api?",
        "/api?a=b&a=c&&=&d",
        "/api?watch=1;x=y&z=%zz",
        "/api?command=sh&command=-c&command=a+b%20%26%26c",
        "/api?a=/../?b=?&c=%E2%82%AC",
        "/api/v1/namespaces/~!$&'()*+,=:@/x",
    ];
    for target in targets {
        let before = bed.api.forwarded().len();
        let mut raw = bed.client.raw().await.unwrap();
        raw.request(&format!("GET {target}"), &[&bearer])
            .await
            .unwrap();
        raw.reply().await.unwrap().assert_status(200);
        bed.send(Protocol::H2, Call::get(target).bearer(&token))
            .await
            .assert_status(200);
        for request in &bed.api.forwarded()[before..] {
            assert_eq!(request.target, target);
            assert_identity(request);
        }
    }
}

#[tokio::test]
async fn requests_go_to_the_configured_server_whatever_they_name() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &["dev"]);
    let bearer = format!("Authorization: Bearer {token}");
    for line in [
        "GET http://evil.example/api/v1/pods",
        "GET https://evil.example:1/api/v1/pods",
    ] {
        let mut raw = bed.client.raw().await.unwrap();
        raw.request(line, &[&bearer]).await.unwrap();
        raw.reply().await.unwrap().assert_refusal(400);
    }
    bed.api.assert_untouched();
    bed.get_with(Protocol::H1, &token).await.assert_status(200);
    let seen = bed.api.only();
    assert_eq!(seen.value("host"), Some(bed.api.address().to_string()));
    let before = bed.api.forwarded().len();
    for line in [
        "CONNECT evil.example:443",
        "CONNECT /api",
        "TRACE /api/v1/pods",
    ] {
        let mut raw = bed.client.raw().await.unwrap();
        raw.request(line, &[&bearer]).await.unwrap();
        let reply = raw.reply().await.unwrap();
        assert!(matches!(reply.status, 400 | 405 | 501), "{line}: {reply:?}");
    }
    assert_eq!(bed.api.forwarded().len(), before);
}

#[tokio::test]
async fn a_trace_of_the_clients_passes_through() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &["dev"]);
    let context = [
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("tracestate", "vendor=1,other=2"),
        ("baggage", "key=value"),
    ];
    for protocol in Protocol::BOTH {
        let mut call = Call::get(PODS).bearer(&token);
        for (name, value) in context {
            call = call.header(name, value);
        }
        bed.send(protocol, call).await.assert_status(200);
        let seen = bed.api.forwarded().pop().unwrap();
        for (name, value) in context {
            assert_eq!(seen.values(name), [value], "{protocol:?}");
        }
    }
}
