//! URLs, as Go's `net/url` reads them: kube-apiserver's configuration and its expressions ask it.

use std::{collections::BTreeMap, net::Ipv6Addr};

/// A URL in its parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    userinfo: Option<String>,
    host: String,
    path: String,
    query: String,
    fragment: Option<String>,
}

/// What may stand in a host as it is.
fn is_host_byte(byte: u8) -> bool {
    byte >= 0x80 || byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte)
}

impl Url {
    /// An absolute URL (`url.Parse`).
    pub fn parse(text: &str) -> Option<Self> {
        let (main, fragment) = text
            .split_once('#')
            .map_or((text, None), |(main, fragment)| (main, Some(fragment)));
        let mut url = parts(main, false)?;
        if let Some(fragment) = fragment {
            unescape(fragment)?;
        }
        url.fragment = fragment
            .filter(|fragment| !fragment.is_empty())
            .map(str::to_owned);
        Some(url)
    }

    /// Whether it can be the target of a request (`url.ParseRequestURI`), which has no fragment: the
    /// sign for one is like any other.
    pub fn is_request_target(text: &str) -> bool {
        !text.is_empty() && parts(text, true).is_some()
    }

    /// In lower case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Whether there is a name before the host, even an empty one.
    pub fn has_userinfo(&self) -> bool {
        self.userinfo.is_some()
    }

    /// With its port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// As it was written.
    pub fn query(&self) -> &str {
        &self.query
    }

    /// Whether there is a fragment that is not empty.
    pub fn has_fragment(&self) -> bool {
        self.fragment.is_some()
    }

    pub(crate) fn hostname(&self) -> &str {
        if let Some(inner) = self.host.strip_prefix('[') {
            return inner.split(']').next().unwrap_or_default();
        }
        self.host
            .rsplit_once(':')
            .map_or(self.host.as_str(), |(name, _)| name)
    }

    pub(crate) fn port(&self) -> &str {
        let after = self.host.rsplit(']').next().unwrap_or_default();
        after.rsplit_once(':').map_or("", |(_, port)| port)
    }

    /// The path as it was written where that is well-formed; else it is escaped anew.
    pub(crate) fn escaped_path(&self) -> String {
        let written =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@/%[]".contains(&byte);
        if self.path.bytes().all(written) {
            return self.path.clone();
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte);
        let mut escaped = String::with_capacity(self.path.len());
        for byte in unescape(&self.path).unwrap_or_default() {
            if plain(byte) {
                escaped.push(char::from(byte));
            } else {
                let digit = |nibble: u8| {
                    char::from_digit(u32::from(nibble), 16)
                        .unwrap_or('0')
                        .to_ascii_uppercase()
                };
                escaped.extend(['%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
        escaped
    }

    pub(crate) fn values(&self) -> BTreeMap<String, Vec<String>> {
        let text = |escaped: &str| {
            let bytes = unescape(&escaped.replace('+', " "))?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in self
            .query
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.contains(';'))
        {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let (Some(key), Some(value)) = (text(key), text(value)) {
                values.entry(key).or_default().push(value);
            }
        }
        values
    }
}

fn parts(text: &str, request: bool) -> Option<Url> {
    let printable = text.bytes().all(|byte| !byte.is_ascii_control());
    printable.then_some(())?;
    let (scheme, rest) = scheme(text)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut url = Url {
        scheme: scheme.to_ascii_lowercase(),
        userinfo: None,
        host: String::new(),
        path: String::new(),
        query: query.to_owned(),
        fragment: None,
    };
    if !rest.starts_with('/') {
        // `mailto:x` is fine, a relative path is not.
        return (!scheme.is_empty() || rest == "*").then_some(url);
    }
    let mut path = rest;
    let authority = !scheme.is_empty() || (!request && !rest.starts_with("///"));
    if let Some(authority) = rest.strip_prefix("//").filter(|_| authority) {
        let end = authority.find('/').unwrap_or(authority.len());
        let (authority, after) = authority.split_at_checked(end)?;
        path = after;
        let (userinfo, host) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(user, host)| (Some(user), host));
        if let Some(userinfo) = userinfo {
            let allowed =
                |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
            userinfo.bytes().all(allowed).then_some(())?;
            unescape(userinfo)?;
            url.userinfo = Some(userinfo.to_owned());
        }
        url.host = host_of(host, &url.scheme)?;
    }
    unescape(path)?;
    path.clone_into(&mut url.path);
    Some(url)
}

/// The scheme and what follows it. No scheme is fine, a broken one is not.
fn scheme(text: &str) -> Option<(&str, &str)> {
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if index > 0 => {}
            b':' if index == 0 => return None,
            b':' => return Some((text.get(..index)?, text.get(index + 1..)?)),
            _ => break,
        }
    }
    Some(("", text))
}

fn host_of(host: &str, scheme: &str) -> Option<String> {
    match host.rfind('[') {
        Some(0) => {
            let (address, port) = host.strip_prefix('[')?.rsplit_once(']')?;
            is_port(port).then_some(())?;
            Some(format!("[{}]{port}", address_of(address)?))
        }
        Some(_) => None,
        None => {
            // Lists of hosts with ports are known of databases.
            let colon = if matches!(scheme, "http" | "https") {
                host.find(':')
            } else {
                host.rfind(':')
            };
            let port = colon.and_then(|colon| host.get(colon..));
            is_port(port.unwrap_or_default()).then_some(())?;
            unescape_host(host, |_| false)
        }
    }
}

/// An IPv6 address, which may have a zone.
fn address_of(text: &str) -> Option<String> {
    let (address, zone) = text
        .split_once("%25")
        .map_or((text, None), |(address, zone)| (address, Some(zone)));
    address.parse::<Ipv6Addr>().ok()?;
    let Some(zone) = zone else {
        return Some(address.to_owned());
    };
    let allowed = |byte: u8| byte == b' ' || is_host_byte(byte);
    let zone = unescape_host(zone, allowed).filter(|zone| !zone.is_empty())?;
    Some(format!("{address}%{zone}"))
}

fn is_port(text: &str) -> bool {
    text.is_empty()
        || text
            .strip_prefix(':')
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Only what is not ASCII may be escaped in a host, the percent sign, and what `allowed` says.
fn unescape_host(text: &str, allowed: impl Fn(u8) -> bool) -> Option<String> {
    for (index, byte) in text.bytes().enumerate() {
        if byte == b'%' {
            let escape = text.get(index..index + 3)?;
            let [byte] = unescape(escape)?[..] else {
                return None;
            };
            (byte >= 0x80 || byte == b'%' || allowed(byte)).then_some(())?;
        } else {
            is_host_byte(byte).then_some(())?;
        }
    }
    Some(String::from_utf8_lossy(&unescape(text)?).into_owned())
}

/// Undoes percent escapes; nothing if one of them is broken.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, after @ ..] = rest else {
            return None;
        };
        let digit = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        bytes.push(digit(*high)? * 16 + digit(*low)?);
        rest = after;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Observed of Go 1.26.
    #[test]
    fn hosts_are_those_of_go() {
        for (text, host) in [
            ("http://a:/", "a:"),
            ("http://a]b/", "a]b"),
            ("http://<a>/", "<a>"),
            ("http://a%25b/", "a%b"),
            ("http://[::1%25en0]:80/x", "[::1%en0]:80"),
            ("http://[::ffff:1.2.3.4]/", "[::ffff:1.2.3.4]"),
            ("http://[fe80::1%2541]/", "[fe80::1%41]"),
            ("http://[fe80::1%25%41]/", "[fe80::1%A]"),
            ("http://[fe80::1%25%20]/", "[fe80::1% ]"),
            ("http://[::1]:99999/", "[::1]:99999"),
            ("postgres://a,b:1:2/", "a,b:1:2"),
            ("//::1/", "::1"),
            ("http:///x", ""),
        ] {
            let url = Url::parse(text);
            assert_eq!(url.as_ref().map(Url::host), Some(host), "{text}");
        }
        for text in [
            "http://[foo]/",
            "http://[1.2.3.4]/",
            "http://[v1.x]/",
            "http://[]/",
            "http://[::1]x/",
            "http://[::00001]/",
            "http://[::%31]/",
            "http://[::1%en0]/",
            "http://[::1%25]/",
            "http://::1/",
            "http://::1:80/",
            "https://a:1:2/",
            "http://a[b/",
            "http://a%41/",
            "http://%zz/",
            "http://a:80x/",
            "http://a b/",
            "http://a\\b/",
            "//a:b:c/x",
            "http://a/%zz",
            "http://a/\u{1}",
        ] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_request_has_no_fragment() {
        assert!(Url::is_request_target("http://a?x#%zz"));
        assert_eq!(Url::parse("http://a?x#%zz"), None);
        assert!(Url::is_request_target("//a:b:c/x"));
        assert!(!Url::is_request_target("http://a/x#%zz"));
        assert!(!Url::is_request_target("") && !Url::is_request_target("abc//x"));
    }

    #[test]
    fn a_path_is_escaped_anew_unless_it_is_well_formed() {
        let path = |text: &str| Url::parse(text).unwrap().escaped_path();
        assert_eq!(path("http://a/b%2fc!"), "/b%2fc!");
        assert_eq!(path("http://a/b c%2fd!"), "/b%20c/d%21");
        assert_eq!(path("http://a/\u{e4}"), "/%C3%A4");
    }
}
