//! Whom a request comes from: in the access line, towards the API server, and as an extra.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use oidcproxy_tests::{
    bed::Bed,
    client::{Call, Client, Protocol},
};
use serde_json::json;

const PODS: &str = "/api/v1/pods";
const TRUSTED: &str = "--trusted-proxies=127.0.0.0/8,10.0.0.0/8";

async fn bed(flags: &[&str]) -> Bed {
    Bed::with(|setup, _| {
        flags
            .iter()
            .fold(setup, |setup, flag| setup.flag(flag.to_owned()))
    })
    .await
}

fn call(bed: &Bed, forwarded_for: &[&str]) -> Call {
    let call = Call::get(PODS).bearer(&bed.token("alice", &[]));
    forwarded_for
        .iter()
        .fold(call, |call, line| call.header("x-forwarded-for", line))
}

fn preface(header: &[u8], bed: &Bed) -> Client {
    bed.client.clone().with_preface(header)
}

/// Version 2, PROXY, TCP over IPv4, from 203.0.113.9 port 4711.
fn binary() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 1, 187]);
    header
}

#[tokio::test]
async fn a_stranger_is_not_believed() {
    let bed = bed(&["--extra-user-header-client-ip"]).await;
    for protocol in Protocol::BOTH {
        let reply = bed.send(protocol, call(&bed, &["203.0.113.9"])).await;
        reply.assert_status(200);
        assert_eq!(
            reply.json()["extra"]["remote-client-ip"],
            json!(["127.0.0.1"])
        );
    }
    for request in bed.api.forwarded() {
        assert_eq!(request.values("x-forwarded-for"), ["127.0.0.1"]);
    }
    bed.proxy
        .access_line("src:[127.0.0.1 / 203.0.113.9]")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_from_the_end() {
    let bed = bed(&[TRUSTED, "--extra-user-header-client-ip"]).await;
    for (lines, client) in [
        (&["203.0.113.9"][..], "203.0.113.9"),
        (&["198.51.100.66, 203.0.113.9, 10.2.0.1"], "203.0.113.9"),
        (&["198.51.100.66", "203.0.113.9:4711"], "203.0.113.9"),
        (&["203.0.113.9, nonsense"], "127.0.0.1"),
        (&[], "127.0.0.1"),
    ] {
        for protocol in Protocol::BOTH {
            let reply = bed.send(protocol, call(&bed, lines)).await;
            reply.assert_status(200);
            let extra = &reply.json()["extra"]["remote-client-ip"];
            assert_eq!(extra, &json!([client]), "{lines:?}");
            let request = bed.api.forwarded().pop().unwrap();
            assert_eq!(request.values("x-forwarded-for"), [client], "{lines:?}");
        }
    }
    bed.proxy
        .access_line("src:[203.0.113.9 / 198.51.100.66, 203.0.113.9:4711]")
        .await
        .unwrap();
}

#[tokio::test]
async fn nobody_chooses_an_address_with_as() {
    let bed = bed(&["--extra-user-header-client-ip"]).await;
    bed.api.reviews().allow_verb("alice", "impersonate");
    for protocol in Protocol::BOTH {
        let forged = call(&bed, &[])
            .header("impersonate-user", "bob")
            .header("impersonate-extra-remote%2dclient-ip", "203.0.113.9");
        bed.send(protocol, forged).await.assert_refusal(403);
    }
    bed.api.assert_untouched();
    let honest = call(&bed, &[]).header("impersonate-user", "bob");
    let reply = bed.send(Protocol::H1, honest).await;
    assert_eq!(reply.json()["user"], "bob");
    assert_eq!(
        reply.json()["extra"]["remote-client-ip"],
        json!(["127.0.0.1"])
    );
}

#[tokio::test]
async fn static_extras_are_carried_by_every_request() {
    let bed = bed(&["--extra-user-headers=Via=edge,team=a,team=b"]).await;
    bed.api.reviews().allow_verb("alice", "impersonate");
    for headers in [&[][..], &[("impersonate-user", "bob")]] {
        let call = headers.iter().fold(call(&bed, &[]), |call, (name, value)| {
            call.header(name, value)
        });
        for protocol in Protocol::BOTH {
            let reply = bed.send(protocol, call.clone()).await;
            reply.assert_status(200);
            assert_eq!(reply.json()["extra"]["via"], json!(["edge"]));
            assert_eq!(reply.json()["extra"]["team"], json!(["a", "b"]));
        }
    }
    for wrong in ["--extra-user-headers=a=b=c", "--extra-user-headers=a"] {
        let started = Bed::try_with(|setup, _| setup.flag(wrong)).await;
        let error = format!("{:#}", started.err().expect(wrong));
        assert!(error.contains("--extra-user-headers"), "{error}");
    }
}

#[tokio::test]
async fn without_being_asked_for_there_are_no_extras() {
    let bed = bed(&[]).await;
    for protocol in Protocol::BOTH {
        let reply = bed.send(protocol, call(&bed, &["203.0.113.9"])).await;
        reply.assert_status(200);
        let seen = bed.api.forwarded().pop().unwrap();
        let extras = seen.names("impersonate-extra-");
        assert!(extras.is_empty(), "{extras:?}");
    }
}

#[tokio::test]
async fn the_address_and_static_extras_come_together_and_alone() {
    let bed = bed(&[
        "--extra-user-header-client-ip",
        "--extra-user-headers=key1=foo,key2=foo,key1=bar",
    ])
    .await;
    for protocol in Protocol::BOTH {
        let reply = bed.send(protocol, call(&bed, &[])).await;
        reply.assert_status(200);
        let extras = json!({
            "key1": ["foo", "bar"], "key2": ["foo"], "remote-client-ip": ["127.0.0.1"],
        });
        assert_eq!(reply.json()["extra"], extras);
        let seen = bed.api.forwarded().pop().unwrap();
        assert_eq!(seen.names("impersonate-extra-").len(), 4, "{seen:?}");
    }
}

#[tokio::test]
async fn the_proxy_protocol_of_trusted_proxies_is_read() {
    let bed = bed(&[TRUSTED, "--proxy-protocol", "--extra-user-header-client-ip"]).await;
    let line = b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n".to_vec();
    let six = b"PROXY TCP6 2001:db8::9 fd00::1 4711 443\r\n".to_vec();
    let unknown = b"PROXY UNKNOWN\r\n".to_vec();
    for (header, client) in [
        (line, "203.0.113.9"),
        (six, "2001:db8::9"),
        (binary(), "203.0.113.9"),
        (unknown, "127.0.0.1"),
    ] {
        for protocol in Protocol::BOTH {
            // What the client says itself counts no more: its address is no trusted one.
            let reply = preface(&header, &bed)
                .send(protocol, call(&bed, &[]))
                .await
                .unwrap();
            reply.assert_status(200);
            let extra = &reply.json()["extra"]["remote-client-ip"];
            assert_eq!(extra, &json!([client]));
        }
    }
    let forged = call(&bed, &["198.51.100.66"]);
    let reply = preface(&binary(), &bed).send(Protocol::H1, forged).await;
    let extra = reply.unwrap().json()["extra"]["remote-client-ip"].clone();
    assert_eq!(extra, json!(["203.0.113.9"]));
    bed.proxy
        .access_line("src:[203.0.113.9 / 198.51.100.66]")
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_no_proxy_header_ends_the_connection() {
    let bed = bed(&[TRUSTED, "--proxy-protocol"]).await;
    let long = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 300]].concat();
    for header in [
        &b""[..],
        b"PROXY TCP4 203.0.113.9 10.0.0.1 4711\r\n",
        b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\n",
        b"PROXY TCP6 203.0.113.9 10.0.0.1 4711 443\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c000000000000",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        &long,
    ] {
        let sent = preface(header, &bed)
            .send(Protocol::H1, call(&bed, &[]))
            .await;
        assert!(
            sent.is_err(),
            "{}: {sent:?}",
            String::from_utf8_lossy(header)
        );
    }
    bed.api.assert_untouched();
}

#[tokio::test]
async fn a_stranger_has_no_proxy_protocol() {
    let bed = bed(&["--trusted-proxies=10.0.0.0/8", "--proxy-protocol"]).await;
    bed.send(Protocol::H1, call(&bed, &[]))
        .await
        .assert_status(200);
    let forged = preface(&binary(), &bed)
        .send(Protocol::H1, call(&bed, &[]))
        .await;
    assert!(forged.is_err(), "{forged:?}");
    bed.proxy.access_line("src:[127.0.0.1 / ]").await.unwrap();
}
