//! HTTP/2 frames by hand, for requests that no proper client would send.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::client::TlsStream;

use super::{Client, PATIENCE};

/// Kinds of frames (RFC 9113, section 6).
pub mod kind {
    /// Part of a body.
    pub const DATA: u8 = 0;
    /// A request or a response.
    pub const HEADERS: u8 = 1;
    /// The end of a stream before its time.
    pub const RST_STREAM: u8 = 3;
    /// What a side allows.
    pub const SETTINGS: u8 = 4;
    /// Are you there?
    pub const PING: u8 = 6;
    /// No further streams.
    pub const GOAWAY: u8 = 7;
    /// Room for more of a body.
    pub const WINDOW_UPDATE: u8 = 8;
    /// More of a head.
    pub const CONTINUATION: u8 = 9;
}

/// The flag of DATA and HEADERS.
pub const END_STREAM: u8 = 0x1;
/// The flag of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 0x4;
const ACK: u8 = 0x1;

/// What the server made of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum H2Outcome {
    /// It answered with a response.
    Response,
    /// It reset the stream with this code.
    Reset(u32),
    /// It ended the connection with this code.
    GoAway(u32),
    /// It closed the connection without a word.
    Closed,
}

/// One frame.
#[derive(Clone, Debug)]
pub struct H2Frame {
    /// One of [`kind`].
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl H2Frame {
    /// The error code of `RST_STREAM` or GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == kind::GOAWAY { 4 } else { 0 };
        number(self.payload.get(at..).unwrap_or_default())
    }

    /// The identifiers and values of SETTINGS.
    pub fn settings(&self) -> Vec<(u16, u32)> {
        let each = self.payload.chunks_exact(6);
        each.map(|one| (u16::from_be_bytes([one[0], one[1]]), number(&one[2..])))
            .collect()
    }
}

/// A TLS connection on which a test writes HTTP/2 itself. SETTINGS and PING are acknowledged, as any
/// client does that wants to stay.
pub struct RawH2 {
    stream: TlsStream<TcpStream>,
}

impl RawH2 {
    pub(super) async fn connect(client: &Client, settings: &[(u16, u32)]) -> Result<Self> {
        let mut this = Self {
            stream: client.tls(&[b"h2"]).await?,
        };
        let mut payload = Vec::new();
        for (identifier, value) in settings {
            payload.extend(identifier.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(kind::SETTINGS, 0, 0, &payload));
        this.write(&bytes).await?;
        Ok(this)
    }

    /// Writes bytes in one go.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// Writes a request of exactly these fields, pseudo fields first, without a body.
    pub async fn request(&mut self, stream: u32, fields: &[(&str, &str)]) -> Result<()> {
        let flags = END_STREAM | END_HEADERS;
        let block = header_block(fields);
        self.write(&frame(kind::HEADERS, flags, stream, &block))
            .await
    }

    /// The next frame; `None` when the connection has ended, however.
    pub async fn next(&mut self) -> Result<Option<H2Frame>> {
        self.next_within(PATIENCE).await
    }

    /// The next frame within a time.
    pub async fn next_within(&mut self, time: Duration) -> Result<Option<H2Frame>> {
        let read = tokio::time::timeout(time, self.read()).await;
        let Some(frame) = read.context("no frame in time")? else {
            return Ok(None);
        };
        if frame.flags & ACK == 0 && matches!(frame.kind, kind::SETTINGS | kind::PING) {
            let payload = match frame.kind {
                kind::PING => &*frame.payload,
                _ => &[],
            };
            let ack = self::frame(frame.kind, ACK, 0, payload);
            // The server may be gone by now, which the next read says.
            let _ = self.write(&ack).await;
        }
        Ok(Some(frame))
    }

    /// Waits for a frame; the end of the connection is an error.
    pub async fn wait(&mut self, matches: impl Fn(&H2Frame) -> bool) -> Result<H2Frame> {
        loop {
            let frame = self.next().await?.context("the connection ended")?;
            if matches(&frame) {
                return Ok(frame);
            }
        }
    }

    /// How long the server keeps the connection, and everything that it sends until then.
    pub async fn until_closed(&mut self, within: Duration) -> Result<(Duration, Vec<H2Frame>)> {
        let began = Instant::now();
        let mut frames = Vec::new();
        loop {
            let left = within.checked_sub(began.elapsed());
            let left = left.context("the connection is still open")?;
            match self.next_within(left).await? {
                Some(frame) => frames.push(frame),
                None => return Ok((began.elapsed(), frames)),
            }
        }
    }

    async fn read(&mut self) -> Option<H2Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).ok()?];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some(H2Frame {
            kind: head[3],
            flags: head[4],
            stream: number(&head[5..]),
            payload,
        })
    }
}

/// Sends one request made of exactly these fields, pseudo fields first.
pub async fn send_h2_fields(client: &Client, fields: &[(&str, &str)]) -> Result<H2Outcome> {
    let mut connection = RawH2::connect(client, &[]).await?;
    connection.request(1, fields).await?;
    let outcome = loop {
        let Some(frame) = connection.next().await? else {
            break H2Outcome::Closed;
        };
        match frame.kind {
            kind::HEADERS => break H2Outcome::Response,
            kind::RST_STREAM => break H2Outcome::Reset(frame.code()),
            // A graceful GOAWAY without error precedes nothing of interest.
            kind::GOAWAY if frame.code() != 0 => break H2Outcome::GoAway(frame.code()),
            _ => {}
        }
    };
    // Whatever it was, nothing may follow upstream; give it the time to.
    tokio::time::sleep(Duration::from_millis(100)).await;
    Ok(outcome)
}

/// The fields, literally: no table, no Huffman.
pub fn header_block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        push_string(&mut block, name);
        push_string(&mut block, value);
    }
    block
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame");
    assert!(length <= 16 * 1024, "no server need read a longer one");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn number(bytes: &[u8]) -> u32 {
    let bytes = bytes.first_chunk::<4>();
    bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// A length with a 7-bit prefix, then the text.
fn push_string(block: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    if length < 127 {
        block.push(u8::try_from(length).expect("below 127"));
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push(u8::try_from(length % 128 + 128).expect("a byte"));
            length /= 128;
        }
        block.push(u8::try_from(length).expect("below 128"));
    }
    block.extend_from_slice(text.as_bytes());
}
