//! HTTP/1.1 by hand: exact bytes out, exact bytes in.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::{Reply, in_time};

/// A TLS connection on which a test writes HTTP itself.
pub struct RawConnection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

/// The head of a response.
#[derive(Clone, Debug)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
}

impl Head {
    /// One header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl RawConnection {
    pub(super) fn new(stream: TlsStream<TcpStream>) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Writes bytes in one go.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await?;
        Ok(())
    }

    /// Writes a request head: the request line, `Host`, these lines, the blank line.
    pub async fn request(&mut self, line: &str, headers: &[&str]) -> Result<()> {
        let mut head = format!("{line} HTTP/1.1\r\nHost: k8s.example\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        self.write(head + "\r\n").await
    }

    /// Ends this direction; reading goes on.
    pub async fn finish(&mut self) -> Result<()> {
        Ok(self.stream.shutdown().await?)
    }

    /// Reads the head of a response, without interim ones.
    pub async fn head(&mut self) -> Result<Head> {
        loop {
            let head = self.any_head().await?;
            if head.status == 101 || head.status >= 200 {
                return Ok(head);
            }
        }
    }

    async fn any_head(&mut self) -> Result<Head> {
        loop {
            let end = self
                .buffer
                .windows(4)
                .position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return parse(&head[..end]);
            }
            if self.fill().await? == 0 {
                bail!("the connection ended before a response");
            }
        }
    }

    /// Reads a response with its body.
    pub async fn reply(&mut self) -> Result<Reply> {
        let head = self.head().await?;
        let body = if head.header("transfer-encoding").is_some() {
            self.chunks().await?
        } else if let Some(length) = head.header("content-length") {
            let length = length.parse()?;
            self.exactly(length).await?
        } else if matches!(head.status, 101 | 204 | 304) {
            Vec::new()
        } else {
            self.rest().await?
        };
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body: Bytes::from(body),
        })
    }

    async fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or(""), 16)?;
            body.extend(self.exactly(size).await?);
            ensure!(self.line().await?.is_empty(), "bad chunk end");
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            ensure!(self.fill().await? > 0, "the body ended early");
        }
    }

    /// Reads exactly so many bytes.
    pub async fn exactly(&mut self, count: usize) -> Result<Vec<u8>> {
        while self.buffer.len() < count {
            ensure!(
                self.fill().await? > 0,
                "the stream ended after {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Reads to the end of the stream, clean or not.
    pub async fn rest(&mut self) -> Result<Vec<u8>> {
        while self.fill().await? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// What arrives within a time, up to the end.
    pub async fn within(&mut self, time: Duration) -> Vec<u8> {
        let _ = tokio::time::timeout(time, async {
            while matches!(self.fill().await, Ok(1..)) {}
        })
        .await;
        std::mem::take(&mut self.buffer)
    }

    /// Reads more; 0 at the end. A connection that was cut has ended too.
    async fn fill(&mut self) -> Result<usize> {
        let mut chunk = vec![0; 16 * 1024];
        let count = match in_time("nothing to read", self.stream.read(&mut chunk)).await {
            Ok(count) => count,
            Err(error) => match error.kind() {
                std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset => 0,
                _ => return Err(error.into()),
            },
        };
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(count)
    }
}

fn parse(head: &[u8]) -> Result<Head> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first
        .split(' ')
        .nth(1)
        .context("no status in the response")?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line
            .split_once(':')
            .context("a header line without colon")?;
        headers.append(
            HeaderName::from_bytes(name.as_bytes())?,
            HeaderValue::from_bytes(value.trim().as_bytes())?,
        );
    }
    Ok(Head {
        status: status.parse()?,
        headers,
    })
}
