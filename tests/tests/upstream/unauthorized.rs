//! A 401 of kube-apiserver's: about the proxy, or about the user.

use std::time::{Duration, Instant};

use http::Method;
use oidcproxy_tests::{
    api_server::{Answer, Recorded},
    bed::Bed,
    client::{Call, Protocol},
    proxy::OWN_TOKEN,
};
use serde_json::{Value, json};

const AGGREGATED: &str = "/apis/metrics.k8s.io/v1beta1/nodes";
const SELF: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const BODY: &str = "{\"kind\":\"Status\", \"code\":401}\n";

fn refusal() -> Answer {
    let headers = vec![
        ("WWW-Authenticate", "Bearer realm=\"metrics\"".to_owned()),
        ("Content-Type", "application/json".to_owned()),
    ];
    Answer::Full(401, headers, BODY.as_bytes().to_vec())
}

fn somebody(name: &str) -> Answer {
    Answer::Json(201, json!({"status": {"userInfo": {"username": name}}}))
}

fn known() -> Answer {
    somebody("system:serviceaccount:auth:corp")
}

async fn bed() -> Bed {
    let bed = Bed::start().await;
    bed.api.answer("/apis/metrics.k8s.io/", refusal());
    bed
}

fn reviews(bed: &Bed) -> Vec<Recorded> {
    let mut requests = bed.api.requests();
    requests.retain(|request| request.target == SELF);
    requests
}

fn get(bed: &Bed) -> Call {
    Call::get(AGGREGATED).bearer(&bed.token("alice", &[]))
}

#[tokio::test]
async fn one_about_the_user_passes_as_it_came() {
    let bed = bed().await;
    bed.api.answer(SELF, known());
    for protocol in Protocol::BOTH {
        let reply = bed.send(protocol, get(&bed)).await;
        reply.assert_status(401);
        assert_eq!(reply.body, BODY);
        let challenge = reply.header("www-authenticate");
        assert_eq!(challenge, Some("Bearer realm=\"metrics\""));
    }
    let line = bed.proxy.access_line(AGGREGATED).await.unwrap();
    assert!(line.contains("AuSuccess"), "{line}");
    // Asked once, as the proxy and as nobody else.
    let reviews = reviews(&bed);
    assert_eq!(reviews.len(), 1, "{reviews:#?}");
    let review = &reviews[0];
    let own = format!("Bearer {OWN_TOKEN}");
    assert_eq!(review.value("authorization"), Some(own));
    assert!(review.names("impersonate-").is_empty(), "{review:?}");
    let body: Value = serde_json::from_slice(&review.body).unwrap();
    assert_eq!(body["kind"], "SelfSubjectReview");
}

#[tokio::test]
async fn whoever_may_not_ask_is_known() {
    let bed = bed().await;
    let forbidden = json!({"kind": "Status", "code": 403});
    bed.api.answer(SELF, Answer::Json(403, forbidden));
    for protocol in Protocol::BOTH {
        let reply = bed.send(protocol, get(&bed)).await;
        reply.assert_status(401);
        assert_eq!(reply.body, BODY);
    }
    assert_eq!(reviews(&bed).len(), 1);
}

#[tokio::test]
async fn many_are_asked_about_once() {
    let bed = bed().await;
    let later = Answer::Later(Duration::from_millis(500), Box::new(known()));
    bed.api.answer(SELF, later);
    let calls = (0..20).map(|_| bed.send(Protocol::H1, get(&bed)));
    for reply in futures::future::join_all(calls).await {
        reply.assert_status(401);
    }
    assert_eq!(reviews(&bed).len(), 1);
}

#[tokio::test]
async fn one_about_the_proxy_is_502_wherever_it_is_said() {
    let bed = Bed::start().await;
    // A proxy whose credential is not known hears this everywhere.
    bed.api.answer("/", refusal());
    let targets = [
        "/api/v1/pods",
        AGGREGATED,
        "/api/v1/namespaces/default/services/web/proxy/",
        "/api/v1/pods?watch=1",
    ];
    for protocol in Protocol::BOTH {
        for target in targets {
            let call = Call::get(target).bearer(&bed.token("alice", &[]));
            let reply = bed.send(protocol, call).await;
            reply.assert_refusal(502);
            assert_eq!(reply.header("www-authenticate"), None);
            let message = reply.json()["message"].to_string();
            assert!(message.contains("the proxy's own credential"), "{message}");
        }
    }
    let exec = Call::new(Method::POST, "/api/v1/namespaces/default/pods/web/exec")
        .bearer(&bed.token("alice", &[]))
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1");
    bed.send(Protocol::H1, exec).await.assert_refusal(502);
    let metrics = bed.proxy.probe("/metrics").await.unwrap().text();
    let counted = "oidc_proxy_upstream_errors_total{kind=\"credential\"} 9";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn without_a_good_answer_it_is_taken_for_one_about_the_proxy() {
    let bed = bed().await;
    let unhelpful = [
        Answer::Json(500, json!({"kind": "Status", "code": 500})),
        Answer::Json(200, json!({"status": {"userInfo": {"username": "x"}}})),
        Answer::Full(201, Vec::new(), b"{".to_vec()),
        Answer::Full(201, Vec::new(), vec![b' '; 1 << 20]),
        Answer::Cut(b"HTTP/1.1 201 Cre".to_vec()),
    ];
    for answer in unhelpful {
        bed.api.answer(SELF, answer.clone());
        let reply = bed.send(Protocol::H2, get(&bed)).await;
        assert_eq!(reply.status, 502, "{answer:?}: {reply:?}");
    }
    bed.api.answer(SELF, Answer::Hang);
    let began = Instant::now();
    bed.send(Protocol::H1, get(&bed)).await.assert_refusal(502);
    let took = began.elapsed();
    assert!((2..6).contains(&took.as_secs()), "{took:?}");
    // None of this is remembered.
    bed.api.answer(SELF, known());
    bed.send(Protocol::H1, get(&bed)).await.assert_status(401);
}

#[tokio::test]
async fn whoever_is_nobody_has_no_good_credential() {
    let bed = bed().await;
    bed.api.answer(SELF, somebody("system:anonymous"));
    bed.send(Protocol::H1, get(&bed)).await.assert_refusal(502);
    bed.send(Protocol::H2, get(&bed)).await.assert_refusal(502);
    // That is an answer: it is remembered for a moment.
    assert_eq!(reviews(&bed).len(), 1);
    bed.api.answer(SELF, known());
    tokio::time::sleep(Duration::from_secs(6)).await;
    bed.send(Protocol::H1, get(&bed)).await.assert_status(401);
}

/// The token was renewed meanwhile: what is asked about is the one that was sent.
#[tokio::test]
async fn another_token_is_asked_about_again() {
    let bed = Bed::with(|setup, _| setup.own_token_file()).await;
    bed.api.answer("/apis/metrics.k8s.io/", refusal());
    let is_old = |request: &Recorded| {
        request.target == SELF
            && request.value("authorization").as_deref() != Some("Bearer renewed")
    };
    bed.api.answer(SELF, known());
    bed.api.answer_if(is_old, refusal());
    bed.send(Protocol::H1, get(&bed)).await.assert_refusal(502);
    bed.proxy.replace("own-token", "renewed").unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while bed.send(Protocol::H1, get(&bed)).await.status != 401 {
        assert!(
            Instant::now() < deadline,
            "the new token is not asked about"
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
