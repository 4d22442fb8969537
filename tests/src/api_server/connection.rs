//! The server's side of a connection: read a request, write what is scripted.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Result;
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::broadcast::{Receiver, error::RecvError},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Answer, Events, Recorded, Shared, Upgrade,
    record::{fill, read_request},
};

/// What happens to the connection after an answer.
enum Next {
    KeepAlive,
    Close,
    /// Without a TLS goodbye.
    Cut,
}

pub(super) async fn accept(
    listener: TcpListener,
    tls: Arc<Mutex<TlsAcceptor>>,
    shared: Arc<Shared>,
) {
    let mut connections = JoinSet::new();
    let mut id = 0;
    loop {
        let socket = tokio::select! {
            Some(_) = connections.join_next() => continue,
            () = shared.cut.notified() => {
                connections.shutdown().await;
                for state in shared.connections.lock().unwrap().values_mut() {
                    state.closed = true;
                }
                shared.changed.notify_waiters();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, _)) = socket else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        id += 1;
        let (tls, shared) = (tls.lock().unwrap().clone(), shared.clone());
        connections.spawn(async move {
            let _ = socket.set_nodelay(true);
            let Ok(stream) = tls.accept(socket).await else {
                return;
            };
            let certificate = stream.get_ref().1.peer_certificates();
            let certificate = certificate.and_then(|chain| Some(chain.first()?.to_vec()));
            shared.update(id, |state| state.client_certificate = certificate);
            if let Err(error) = converse(stream, &shared, id).await {
                eprintln!("fake API server: connection {id}: {error:#}");
            }
            shared.update(id, |state| state.closed = true);
        });
    }
}

async fn converse(mut stream: TlsStream<TcpStream>, shared: &Shared, id: u64) -> Result<()> {
    let mut buffer = Vec::new();
    let mut number = 0;
    while let Some(request) = read_request(&mut stream, &mut buffer, id, number).await? {
        number += 1;
        let close = request.values("connection").iter().any(|v| v == "close");
        let answer = shared.script(&request);
        match respond(&mut stream, &mut buffer, shared, request, answer).await? {
            Next::KeepAlive if !close => {}
            Next::Cut => return Ok(()),
            _ => break,
        }
    }
    stream.shutdown().await?;
    Ok(())
}

async fn respond(
    stream: &mut TlsStream<TcpStream>,
    buffer: &mut Vec<u8>,
    shared: &Shared,
    request: Recorded,
    mut answer: Answer,
) -> Result<Next> {
    // A watch listens before the test can see the request, so that no event is lost.
    let events = match &answer {
        Answer::Watch(Events(sender)) => Some(sender.subscribe()),
        _ => None,
    };
    shared.record(request.clone());
    while let Answer::Later(time, then) = answer {
        tokio::time::sleep(time).await;
        answer = *then;
    }
    match answer {
        Answer::Identity => json(stream, &request, 200, &request.identity()).await?,
        Answer::Json(status, value) => json(stream, &request, status, &value).await?,
        Answer::Full(status, headers, body) => {
            let bytes = head(status, &headers, Some(body.len()));
            stream.write_all(&[bytes, body].concat()).await?;
        }
        Answer::Raw(bytes) => stream.write_all(&bytes).await?,
        Answer::Watch(_) => match events {
            Some(events) => {
                if !watch(stream, buffer, events).await? {
                    return Ok(Next::Close);
                }
            }
            None => return Ok(Next::Close),
        },
        Answer::Cut(bytes) => {
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            return Ok(Next::Cut);
        }
        Answer::CutMidBody => {
            let part = [head(200, &[], Some(1000)).as_slice(), b"0123456789"].concat();
            stream.write_all(&part).await?;
            stream.flush().await?;
            return Ok(Next::Cut);
        }
        Answer::Hang => {
            while fill(stream, buffer).await? > 0 {}
            return Ok(Next::Close);
        }
        Answer::Upgrade(upgrade) => {
            tunnel(stream, buffer, shared, &request, &upgrade).await?;
            return Ok(Next::Close);
        }
        Answer::Later(..) => {}
    }
    stream.flush().await?;
    Ok(Next::KeepAlive)
}

/// Sends events as chunks; false when the peer went away.
async fn watch(
    stream: &mut TlsStream<TcpStream>,
    buffer: &mut Vec<u8>,
    mut events: Receiver<Vec<u8>>,
) -> Result<bool> {
    let headers = [
        ("Content-Type", "application/json".to_owned()),
        ("Transfer-Encoding", "chunked".to_owned()),
    ];
    stream.write_all(&head(200, &headers, None)).await?;
    stream.flush().await?;
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            count = fill(stream, buffer) => if count? == 0 { return Ok(false) } else { continue },
        };
        let event = match event {
            Ok(event) => event,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return Ok(false),
        };
        let mut chunk = format!("{:x}\r\n", event.len()).into_bytes();
        chunk.extend_from_slice(&event);
        chunk.extend_from_slice(b"\r\n");
        stream.write_all(&chunk).await?;
        stream.flush().await?;
        if event.is_empty() {
            return Ok(true);
        }
    }
}

async fn json(
    stream: &mut TlsStream<TcpStream>,
    request: &Recorded,
    status: u16,
    value: &Value,
) -> Result<()> {
    let body = value.to_string();
    let mut bytes = head(
        status,
        &[("Content-Type", "application/json".to_owned())],
        Some(body.len()),
    );
    if request.method != "HEAD" {
        bytes.extend_from_slice(body.as_bytes());
    }
    stream.write_all(&bytes).await?;
    Ok(())
}

fn head(status: u16, headers: &[(&str, String)], length: Option<usize>) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    if let Some(length) = length {
        let _ = write!(text, "Content-Length: {length}\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Answers 101 and echoes; bytes that came with the request are the first to be echoed.
async fn tunnel(
    stream: &mut TlsStream<TcpStream>,
    buffer: &mut Vec<u8>,
    shared: &Shared,
    request: &Recorded,
    upgrade: &Upgrade,
) -> Result<()> {
    let asked = request
        .value("upgrade")
        .unwrap_or_else(|| "none".to_owned());
    let mut headers = vec![
        ("Connection", "Upgrade".to_owned()),
        ("Upgrade", upgrade.protocol.clone().unwrap_or(asked)),
    ];
    headers.extend(upgrade.headers.clone());
    let mut bytes = head(101, &headers, None);
    bytes.extend_from_slice(&upgrade.early);
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    if upgrade.hang_up {
        return Ok(());
    }
    loop {
        if buffer.is_empty() && fill(stream, buffer).await? == 0 {
            shared.update(request.connection, |state| state.tunnel_eof = true);
            stream.write_all(&upgrade.farewell).await?;
            stream.flush().await?;
            return Ok(());
        }
        let bytes = std::mem::take(buffer);
        shared.update(request.connection, |state| state.tunnel.extend(&bytes));
        stream.write_all(&bytes).await?;
        stream.flush().await?;
    }
}
