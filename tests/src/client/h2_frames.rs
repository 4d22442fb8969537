//! HTTP/2 frames by hand, for requests that no proper client would send.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Client, PATIENCE};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

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

/// Sends one request made of exactly these fields, pseudo fields first.
pub async fn send_h2_fields(client: &Client, fields: &[(&str, &str)]) -> Result<H2Outcome> {
    let mut stream = client.tls(&[b"h2"]).await?;
    let mut block = Vec::new();
    for (name, value) in fields {
        // Literal without indexing, new name, no Huffman.
        block.push(0);
        push_string(&mut block, name);
        push_string(&mut block, value);
    }
    ensure!(block.len() < 16 * 1024, "one frame only");
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    // END_STREAM and END_HEADERS.
    bytes.extend(frame(HEADERS, 0x5, 1, &block));
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    let outcome = async {
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return H2Outcome::Closed;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap_or(0)];
            if stream.read_exact(&mut payload).await.is_err() {
                return H2Outcome::Closed;
            }
            match head[3] {
                HEADERS => return H2Outcome::Response,
                RST_STREAM => return H2Outcome::Reset(code(&payload)),
                // A graceful GOAWAY without error precedes nothing of interest.
                GOAWAY if code(&payload[4..]) != 0 => {
                    return H2Outcome::GoAway(code(&payload[4..]));
                }
                _ => {}
            }
        }
    };
    let outcome = tokio::time::timeout(PATIENCE, outcome).await?;
    // Whatever it was, nothing may follow upstream; give it the time to.
    tokio::time::sleep(Duration::from_millis(100)).await;
    Ok(outcome)
}

fn code(payload: &[u8]) -> u32 {
    let bytes = payload.first_chunk::<4>();
    bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
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
