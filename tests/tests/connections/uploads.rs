//! Bodies of requests that are answered before their end, or that nobody reads.

use std::{net::Ipv4Addr, time::Duration};

use oidcproxy_tests::{
    bed::Bed,
    client::{Call, Client, Protocol},
    issuer::FakeIssuer,
    proxy::{ProxyUnderTest, Setup},
    tls::TestCa,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::watch,
};

use super::PODS;

/// What an upload of so many bytes may make the proxy hold.
const UPLOAD: usize = 48 << 20;
const HELD: usize = 16 << 20;

/// An API server that reads heads, and bodies only once it is told to.
struct Upstream {
    issuer: FakeIssuer,
    proxy: ProxyUnderTest,
    client: Client,
    reads: watch::Sender<bool>,
}

/// Answers at once, and never reads the body.
const EARLY: &str = "/api/v1/namespaces/early/pods";
/// Reads the body, later.
const LATE: &str = "/api/v1/namespaces/late/pods";

impl Upstream {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let ca = TestCa::new("API server CA").unwrap();
        let leaf = ca.server(&["127.0.0.1"]).unwrap();
        let tls = leaf.acceptor(&[b"http/1.1"]).unwrap();
        let (reads, may_read) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (tls, may_read) = (tls.clone(), may_read.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = tls.accept(socket).await {
                        let _ = serve(stream, may_read).await;
                    }
                });
            }
        });
        let issuer = FakeIssuer::start().await.unwrap();
        let setup = Setup::with_upstream(&url, &ca.pem(), &issuer);
        let proxy = setup.start(&issuer).await;
        let proxy = proxy.unwrap_or_else(|error| panic!("{error:#}"));
        Self {
            client: proxy.client(),
            issuer,
            proxy,
            reads,
        }
    }

    fn resident(&self) -> usize {
        let path = format!("/proc/{}/status", self.proxy.process.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
        kilobytes.parse::<usize>().unwrap() << 10
    }
}

async fn serve(
    mut stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    mut may_read: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let answer = if head.contains(EARLY) {
        "HTTP/1.1 413 Scripted\r\nConnection: close\r\nContent-Length: 8\r\n\r\ntoo much".to_owned()
    } else if head.contains(LATE) {
        may_read.wait_for(|may_read| *may_read).await?;
        let lengths = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: u64 = lengths.unwrap_or("0").parse()?;
        let body = (&mut stream).take(length);
        let read = tokio::io::copy(&mut { body }, &mut tokio::io::sink()).await?;
        let text = read.to_string();
        format!(
            "HTTP/1.1 200 Scripted\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )
    } else {
        "HTTP/1.1 404 Scripted\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_owned()
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.flush().await?;
    // Whoever still sends is heard until they end.
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(())
}

#[tokio::test]
async fn a_refusal_does_not_wait_for_the_body() {
    let bed = Bed::start().await;
    let mut raw = bed.client.raw().await.unwrap();
    let lines = ["Content-Length: 10000000000", "Expect: 100-continue"];
    raw.request(&format!("POST {PODS}"), &lines).await.unwrap();
    let reply = raw.reply().await.unwrap();
    reply.assert_refusal(401);
    assert_eq!(reply.header("connection"), Some("close"));
    raw.rest().await.unwrap();

    let mut raw = bed.client.raw().await.unwrap();
    raw.request(&format!("POST {PODS}"), &["Transfer-Encoding: chunked"])
        .await
        .unwrap();
    raw.write("5\r\nhello\r\n").await.unwrap();
    raw.reply().await.unwrap().assert_refusal(401);
    bed.api.assert_untouched();
}

#[tokio::test]
async fn an_answer_passes_before_the_end_of_the_upload() {
    let upstream = Upstream::start().await;
    let bearer = format!(
        "Authorization: Bearer {}",
        upstream.issuer.token("alice", &[])
    );
    let mut raw = upstream.client.raw().await.unwrap();
    raw.request(
        &format!("POST {EARLY}"),
        &[&bearer, "Transfer-Encoding: chunked"],
    )
    .await
    .unwrap();
    raw.write("5\r\nhello\r\n").await.unwrap();
    let reply = raw.reply().await.unwrap();
    assert_eq!((reply.status, &*reply.text()), (413, "too much"));
}

#[tokio::test]
async fn what_nobody_reads_is_not_held() {
    let upstream = Upstream::start().await;
    let token = upstream.issuer.token("alice", &[]);
    let warm = Call::get(PODS).bearer(&token);
    upstream
        .client
        .send(Protocol::H2, warm)
        .await
        .unwrap()
        .assert_status(404);
    let body = bytes::Bytes::from(vec![0; UPLOAD]);
    for protocol in Protocol::BOTH {
        let before = upstream.resident();
        upstream.reads.send_replace(false);
        let call = Call::new(http::Method::POST, LATE)
            .bearer(&token)
            .header("content-length", UPLOAD.to_string())
            .body(body.clone());
        let upload = upstream.client.send(protocol, call);
        let look = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let held = upstream.resident().saturating_sub(before);
            assert!(held < HELD, "{protocol:?}: {held} bytes");
            upstream.reads.send_replace(true);
        };
        let (reply, ()) = tokio::join!(upload, look);
        let reply = reply.unwrap();
        assert_eq!((reply.status, reply.text()), (200, UPLOAD.to_string()));
    }
}
