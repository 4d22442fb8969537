//! The PROXY protocol, versions 1 and 2: what a load balancer that passes TLS through says of its
//! peer before the first byte of TLS. Only trusted proxies are asked for it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Of version 1, with its end of line.
const MAX_LINE: usize = 107;
/// Of version 2, behind its first 16 bytes: addresses take 36, the rest is of no interest.
const MAX_LENGTH: usize = 1024;

/// Reads the header and nothing after it. `None`: the proxy speaks for itself, as in its health
/// checks. Whatever is not exactly such a header is an error, and the connection's end.
pub(super) async fn read_source<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> io::Result<Option<IpAddr>> {
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        return read_binary(stream).await;
    }
    let mut line = start.to_vec();
    if !line.starts_with(b"PROXY ") {
        return Err(malformed("no PROXY header"));
    }
    while !line.ends_with(b"\r\n") {
        if line.len() >= MAX_LINE {
            return Err(malformed("the PROXY line is too long"));
        }
        line.push(stream.read_u8().await?);
    }
    match parse_line(&line) {
        Some(Source::Address(source)) => Ok(Some(source.to_canonical())),
        Some(Source::Unknown) => Ok(None),
        None => Err(malformed("the PROXY line is malformed")),
    }
}

/// Whom a line speaks of.
enum Source {
    Unknown,
    Address(IpAddr),
}

fn parse_line(line: &[u8]) -> Option<Source> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut words = line.strip_prefix("PROXY ")?.split(' ');
    let is_v4 = match words.next()? {
        "UNKNOWN" => return Some(Source::Unknown),
        "TCP4" => true,
        "TCP6" => false,
        _ => return None,
    };
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        if is_v4 {
            word.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        } else {
            word.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
    };
    let (source, _destination) = (address()?, address()?);
    let mut port = || {
        let word = words.next()?;
        let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
        word.parse::<u16>().ok().filter(|_| is_number)
    };
    let _ports = (port()?, port()?);
    words.next().is_none().then_some(Source::Address(source))
}

async fn read_binary<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<IpAddr>> {
    let version_and_command = stream.read_u8().await?;
    let family = stream.read_u8().await?;
    let length = usize::from(stream.read_u16().await?);
    if length > MAX_LENGTH {
        return Err(malformed("the PROXY header is too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let is_local = match version_and_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(malformed("the PROXY header is of another version")),
    };
    let source = match family {
        // The proxy does not know.
        0x00 => return Ok(None),
        0x11 => v4(&body),
        0x21 => v6(&body),
        _ if is_local => return Ok(None),
        _ => return Err(malformed("the PROXY header is not of TCP")),
    };
    match source {
        _ if is_local => Ok(None),
        Some(source) => Ok(Some(source)),
        None => Err(malformed("the PROXY header is too short")),
    }
}

/// Source, destination and two ports.
fn v4(body: &[u8]) -> Option<IpAddr> {
    let addresses = body.first_chunk::<12>()?;
    let source = addresses.first_chunk::<4>()?;
    Some(Ipv4Addr::from(*source).into())
}

fn v6(body: &[u8]) -> Option<IpAddr> {
    let addresses = body.first_chunk::<36>()?;
    let source = addresses.first_chunk::<16>()?;
    Some(IpAddr::from(Ipv6Addr::from(*source)).to_canonical())
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The source, and what is left for TLS.
    async fn read(bytes: &[u8]) -> io::Result<(Option<String>, Vec<u8>)> {
        let mut rest = bytes;
        let source = read_source(&mut rest).await?;
        Ok((source.map(|source| source.to_string()), rest.to_vec()))
    }

    fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    #[tokio::test]
    async fn lines() {
        for (line, source) in [
            (
                "PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n",
                Some("203.0.113.9"),
            ),
            (
                "PROXY TCP6 2001:db8::9 fd00::1 4711 443\r\n",
                Some("2001:db8::9"),
            ),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
        ] {
            let bytes = [line.as_bytes(), b"\x16\x03\x01"].concat();
            let (read, rest) = read(&bytes).await.unwrap();
            assert_eq!(read.as_deref(), source, "{line}");
            assert_eq!(rest, b"\x16\x03\x01", "{line}");
        }
    }

    #[tokio::test]
    async fn malformed_lines_are_refused() {
        let long = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
        for line in [
            "PROXY TCP4 203.0.113.9 10.0.0.1 4711\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 4711 443 1\r\n",
            "PROXY TCP4 203.0.113.9  10.0.0.1 4711 443\r\n",
            "PROXY TCP4 2001:db8::9 fd00::1 4711 443\r\n",
            "PROXY TCP6 203.0.113.9 10.0.0.1 4711 443\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 +1 443\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 70000 443\r\n",
            "PROXY UDP4 203.0.113.9 10.0.0.1 4711 443\r\n",
            "proxy TCP4 203.0.113.9 10.0.0.1 4711 443\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\n",
            "GET / HTTP/1.1\r\n\r\n",
            &long,
        ] {
            assert!(read(line.as_bytes()).await.is_err(), "{line}");
        }
    }

    #[tokio::test]
    async fn binary_headers() {
        let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 1, 187];
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        v6[15] = 9;
        let with_more = [&v4[..], &[4, 0, 1, 0]].concat();
        for (bytes, source) in [
            (binary(0x21, 0x11, &v4), Some("203.0.113.9")),
            (binary(0x21, 0x11, &with_more), Some("203.0.113.9")),
            (binary(0x21, 0x21, &v6), Some("2001:db8::9")),
            (binary(0x20, 0x11, &v4), None),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x21, 0x00, &[]), None),
        ] {
            let (read, rest) = read(&[&bytes[..], b"tls"].concat()).await.unwrap();
            assert_eq!(read.as_deref(), source, "{bytes:?}");
            assert_eq!(rest, b"tls");
        }
        for bytes in [
            binary(0x21, 0x11, &v4[..11]),
            binary(0x21, 0x21, &v6[..35]),
            binary(0x21, 0x12, &v4),
            binary(0x21, 0x31, &[0; 216]),
            binary(0x31, 0x11, &v4),
            binary(0x22, 0x11, &v4),
            binary(0x21, 0x11, &[0; 1025]),
            SIGNATURE.to_vec(),
        ] {
            assert!(read(&bytes).await.is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_read_that_is_not_there(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(read(&bytes));
            let lead = [&SIGNATURE[..], &bytes].concat();
            let _ = runtime.block_on(read(&lead));
        }
    }
}
