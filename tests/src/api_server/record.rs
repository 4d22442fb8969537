//! A request as it came over the wire.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const MAX_HEAD: usize = 2 << 20;

/// A recorded request: nothing normalised.
#[derive(Clone)]
pub struct Recorded {
    /// Which connection it came over.
    pub connection: u64,
    /// Its place on that connection, from 0.
    pub number: usize,
    /// The method.
    pub method: String,
    /// The target, raw.
    pub target: String,
    /// Header lines in order, names as written.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, without chunk framing.
    pub body: Vec<u8>,
    /// Trailer lines after a chunked body.
    pub trailers: Vec<(String, Vec<u8>)>,
}

impl std::fmt::Debug for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.target)?;
        write!(f, " (connection {} #{})", self.connection, self.number)?;
        for (name, value) in &self.headers {
            write!(f, "\n    {name}: {}", String::from_utf8_lossy(value))?;
        }
        write!(f, "\n    [{} bytes]", self.body.len())
    }
}

impl Recorded {
    /// Every value of a header, by name in any case.
    pub fn values(&self, name: &str) -> Vec<String> {
        let matching = self
            .headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        matching
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    /// The value of a header that may be there once.
    pub fn value(&self, name: &str) -> Option<String> {
        let mut values = self.values(name);
        assert!(values.len() < 2, "{name} is there twice: {self:?}");
        values.pop()
    }

    /// Header names that start with `prefix`, in any case, lower-cased.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let names = self.headers.iter().map(|(name, _)| name.to_lowercase());
        names.filter(|name| name.starts_with(prefix)).collect()
    }

    /// The impersonated user.
    pub fn user(&self) -> Option<String> {
        self.value("impersonate-user")
    }

    /// The impersonated groups in order.
    pub fn groups(&self) -> Vec<String> {
        self.values("impersonate-group")
    }

    /// The values of an extra, by decoded key.
    pub fn extra(&self, key: &str) -> Vec<String> {
        let mut values = Vec::new();
        for (name, value) in &self.headers {
            let name = name.to_lowercase();
            let Some(found) = name.strip_prefix("impersonate-extra-") else {
                continue;
            };
            if percent_decode(found) == key {
                values.push(String::from_utf8_lossy(value).into_owned());
            }
        }
        values
    }

    /// Requests the proxy makes as itself.
    pub(crate) fn is_own(&self) -> bool {
        let path = self.target.split('?').next().unwrap_or_default();
        let review =
            self.method == "POST" && path.starts_with("/apis/auth") && path.ends_with("reviews");
        let check =
            self.method == "GET" && matches!(path, "/version" | "/readyz" | "/livez" | "/healthz");
        let settings = path == crate::proxy::STATUS_PATH;
        (review || check || settings) && self.names("impersonate-").is_empty()
    }

    /// The identity as JSON, the default answer.
    pub(crate) fn identity(&self) -> Value {
        let mut extra = Map::new();
        for name in self.names("impersonate-extra-") {
            let key = percent_decode(&name["impersonate-extra-".len()..]);
            let values = self.extra(&key);
            extra.insert(key, json!(values));
        }
        json!({
            "kind": "Identity",
            "user": self.user(),
            "groups": self.groups(),
            "uid": self.value("impersonate-uid"),
            "extra": extra,
        })
    }
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escape = tail
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|hex| hex::decode(hex).ok());
        if let Some(decoded) = escape {
            bytes.extend(decoded);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Header lines of a head.
type Lines = Vec<(String, Vec<u8>)>;

/// Reads one request; `None` at a clean end of the connection. What came after it stays in `buffer`.
pub(super) async fn read_request<S>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
    connection: u64,
    number: usize,
) -> Result<Option<Recorded>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(head) = read_until(stream, buffer, b"\r\n\r\n").await? else {
        return Ok(None);
    };
    let (first, lines) = head.split_once("\r\n").unwrap_or((&head, ""));
    let mut parts = first.splitn(3, ' ');
    let (method, target) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    ensure!(
        parts.next() == Some("HTTP/1.1"),
        "bad request line {first:?}"
    );
    let mut request = Recorded {
        connection,
        number,
        method: method.to_owned(),
        target: target.to_owned(),
        headers: parse_lines(lines)?,
        body: Vec::new(),
        trailers: Vec::new(),
    };
    if request.values("expect").iter().any(|v| v == "100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let chunked = request.value("transfer-encoding");
    if chunked.is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        ensure!(
            request.value("content-length").is_none(),
            "Content-Length and Transfer-Encoding together: {request:?}"
        );
        (request.body, request.trailers) = read_chunks(stream, buffer).await?;
    } else if let Some(length) = request.value("content-length") {
        request.body = read_exact(stream, buffer, length.parse()?).await?;
    }
    Ok(Some(request))
}

/// Text is kept byte for byte as Latin-1 so that positions and bytes survive.
fn parse_lines(text: &str) -> Result<Lines> {
    let mut lines = Lines::new();
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line
            .split_once(':')
            .context("a header line without colon")?;
        ensure!(
            !name.is_empty() && !name.contains(' '),
            "bad name in {line:?}"
        );
        let value = value.strip_prefix(' ').unwrap_or(value);
        lines.push((name.to_owned(), value.chars().map(|c| c as u8).collect()));
    }
    Ok(lines)
}

async fn read_until<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
    mark: &[u8],
) -> Result<Option<String>> {
    loop {
        if let Some(at) = buffer.windows(mark.len()).position(|window| window == mark) {
            let head = buffer[..at].iter().map(|byte| char::from(*byte)).collect();
            buffer.drain(..at + mark.len());
            return Ok(Some(head));
        }
        ensure!(buffer.len() < MAX_HEAD, "the head is too long");
        if fill(stream, buffer).await? == 0 {
            if buffer.is_empty() {
                return Ok(None);
            }
            bail!("the connection ended inside a request");
        }
    }
}

/// Reads more into the buffer. An unclean end of TLS is an end.
pub(super) async fn fill<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
) -> Result<usize> {
    let mut chunk = vec![0; 16 * 1024];
    let count = match stream.read(&mut chunk).await {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => 0,
        other => other?,
    };
    buffer.extend_from_slice(&chunk[..count]);
    Ok(count)
}

async fn read_exact<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
    length: usize,
) -> Result<Vec<u8>> {
    while buffer.len() < length {
        ensure!(fill(stream, buffer).await? > 0, "the body ended early");
    }
    Ok(buffer.drain(..length).collect())
}

async fn read_chunks<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
) -> Result<(Vec<u8>, Lines)> {
    let mut body = Vec::new();
    loop {
        let line = read_until(stream, buffer, b"\r\n").await?;
        let line = line.context("the body ended early")?;
        let size = usize::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16)?;
        if size == 0 {
            break;
        }
        body.extend(read_exact(stream, buffer, size).await?);
        ensure!(
            read_exact(stream, buffer, 2).await? == b"\r\n",
            "bad chunk end"
        );
    }
    let mut trailers = String::new();
    loop {
        let line = read_until(stream, buffer, b"\r\n").await?;
        let line = line.context("the trailers ended early")?;
        if line.is_empty() {
            return Ok((body, parse_lines(&trailers)?));
        }
        trailers.push_str(&line);
        trailers.push_str("\r\n");
    }
}
