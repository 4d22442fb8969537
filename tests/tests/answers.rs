//! Where answers end, whatever they are and whoever gives them.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::time::Duration;

use http::Method;
use oidcproxy_tests::{
    api_server::Answer,
    bed::Bed,
    client::{Call, Protocol},
};

const PODS: &str = "/api/v1/pods";

fn raw(bed: &Bed, path: &'static str, answer: &str) {
    bed.api
        .answer(path, Answer::Raw(answer.as_bytes().to_vec()));
}

/// Whoever comes next gets an answer of their own.
async fn assert_in_step(bed: &Bed, after: &str) {
    for protocol in Protocol::BOTH {
        let next = bed.get_with(protocol, &bed.token("bob", &[])).await;
        assert_eq!(next.json()["user"], "bob", "after {after}");
    }
}

#[tokio::test]
async fn a_head_is_refused_without_a_body() {
    let bed = Bed::start().await;
    let broken = "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n";
    raw(&bed, "/api/broken", broken);
    let token = bed.token("alice", &[]);
    let head = |path: &str| Call::new(Method::HEAD, path);
    let calls = [
        (401, head(PODS)),
        (
            400,
            head(PODS).bearer(&token).header("impersonate-uid", "1"),
        ),
        (502, head("/api/broken").bearer(&token)),
        (200, head("/livez")),
        (200, head("/readyz")),
    ];
    for (status, call) in calls {
        for protocol in Protocol::BOTH {
            let mut connection = bed.connect(protocol).await;
            let reply = connection.send(call.clone()).await.unwrap();
            reply.assert_status(status);
            assert!(reply.body.is_empty(), "{protocol:?} {call:?}: {reply:?}");
            // What a GET would have.
            let length = reply.header("content-length").unwrap();
            assert_ne!(length, "0", "{protocol:?} {call:?}");
            if status != 401 {
                let again = connection.send(call.clone()).await.unwrap();
                again.assert_status(status);
            }
        }
    }
    let mut raw = bed.client.raw().await.unwrap();
    raw.request("HEAD /livez", &[]).await.unwrap();
    let answer = raw.within(Duration::from_millis(500)).await;
    assert!(answer.ends_with(b"\r\n\r\n"), "{answer:?}");
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &[]);
    let bearer = format!("Authorization: Bearer {token}");
    let cases = [
        ("/a/", 204, "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            "/b/",
            304,
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\nEtag: \"x\"\r\n\r\n",
        ),
        (
            "/c/",
            304,
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            "/d/",
            205,
            "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
        ),
    ];
    for (path, status, answer) in cases {
        raw(&bed, path, answer);
        for protocol in Protocol::BOTH {
            let reply = bed.send(protocol, Call::get(path).bearer(&token)).await;
            reply.assert_status(status);
            assert!(reply.body.is_empty(), "{answer:?}: {reply:?}");
        }
        assert_in_step(&bed, answer).await;
        // On one connection the next answer is the next one's.
        let mut both = bed.client.raw().await.unwrap();
        both.request(&format!("GET {path}"), &[&bearer])
            .await
            .unwrap();
        assert_eq!(both.head().await.unwrap().status, status);
        both.request(&format!("GET {PODS}"), &[&bearer])
            .await
            .unwrap();
        let next = both.reply().await.unwrap();
        assert_eq!(next.json()["user"], "alice", "after {answer:?}");
    }
    let long = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    raw(&bed, "/head/", long);
    for protocol in Protocol::BOTH {
        let call = Call::new(Method::HEAD, "/head/").bearer(&token);
        let reply = bed.send(protocol, call).await;
        reply.assert_status(200);
        assert_eq!(reply.header("content-length"), Some("1000"));
        assert!(reply.body.is_empty());
    }
    assert_in_step(&bed, long).await;
}

#[tokio::test]
async fn interim_answers_are_not_the_answer() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &[]);
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for (path, interim) in [
        ("/a/", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("/b/", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
        (
            "/c/",
            "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n",
        ),
    ] {
        raw(&bed, path, &format!("{interim}{last}"));
        for protocol in Protocol::BOTH {
            let reply = bed.send(protocol, Call::get(path).bearer(&token)).await;
            reply.assert_status(200);
            assert_eq!(reply.body, "ok");
            assert_eq!(reply.header("link"), None);
        }
        assert_in_step(&bed, interim).await;
    }
}

#[tokio::test]
async fn what_follows_an_answer_is_nobodys() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &[]);
    let other = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let cases = [
        (
            "/a/",
            Some(200),
            format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{other}"),
        ),
        (
            "/b/",
            Some(200),
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{other}"
            ),
        ),
        (
            "/c/",
            Some(204),
            format!("HTTP/1.1 204 No Content\r\n\r\n{other}"),
        ),
        (
            "/d/",
            Some(502),
            format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok{other}"),
        ),
        // Whatever it is, it must not be somebody else's.
        (
            "/e/",
            None,
            format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokXX0\r\n\r\n{other}"
            ),
        ),
    ];
    for (path, status, answer) in cases {
        raw(&bed, path, &answer);
        for protocol in Protocol::BOTH {
            let reply = bed
                .client
                .send(protocol, Call::get(path).bearer(&token))
                .await;
            if path == "/b/" {
                assert_eq!(reply.as_ref().unwrap().body, "ok", "{protocol:?}");
            }
            if let Some(status) = status {
                let reply =
                    reply.unwrap_or_else(|error| panic!("{protocol:?} {answer:?}: {error:#}"));
                reply.assert_status(status);
            }
            assert_in_step(&bed, &answer).await;
        }
    }
}

#[tokio::test]
async fn a_compressed_answer_passes_as_it_is() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &[]);
    // Not even gzip: nobody looks.
    let body: Vec<u8> = (0..=255).collect();
    let headers = vec![
        ("Content-Encoding", "gzip".to_owned()),
        ("Vary", "Accept-Encoding".to_owned()),
        ("Set-Cookie", "a=b".to_owned()),
        ("Set-Cookie", "c=d".to_owned()),
    ];
    let answer = Answer::Full(200, headers, body.clone());
    bed.api.answer("/a/", answer);
    for protocol in Protocol::BOTH {
        let call = Call::get("/a/").bearer(&token);
        let call = call.header("accept-encoding", "gzip;q=1.0, *;q=0");
        let reply = bed.send(protocol, call).await;
        assert_eq!(reply.body, body);
        assert_eq!(reply.header("content-encoding"), Some("gzip"));
        assert_eq!(reply.header("vary"), Some("Accept-Encoding"));
        let cookies = reply.headers.get_all("set-cookie").iter();
        assert_eq!(cookies.count(), 2);
        let seen = bed.api.forwarded().pop().unwrap();
        assert_eq!(seen.values("accept-encoding"), ["gzip;q=1.0, *;q=0"]);
    }
}

#[tokio::test]
async fn trailers_of_an_answer_say_nothing_about_the_connection() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &[]);
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nConnection: close\r\nTransfer-Encoding: gzip\r\n\r\n";
    raw(&bed, "/a/", answer);
    for protocol in Protocol::BOTH {
        let reply = bed.send(protocol, Call::get("/a/").bearer(&token)).await;
        reply.assert_status(200);
        assert_eq!(reply.body, "ok");
    }
    assert_in_step(&bed, answer).await;
}
