//! URLs, as Go's `net/url` reads the target of a request.

use std::collections::BTreeMap;

use super::Implementation;
use crate::{
    error::Failure,
    eval::{
        Context,
        value::{Map, Value},
    },
};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Url {
    scheme: String,
    userinfo: Option<String>,
    host: String,
    path: String,
    query: String,
    fragment: Option<String>,
}

/// An absolute URL or an absolute path.
pub(super) fn parse(text: &str) -> Option<Url> {
    let printable = text.chars().all(|character| !character.is_ascii_control());
    (printable && !text.is_empty()).then_some(())?;
    // Read as a request there is no fragment, so its text must do as a path too.
    parse_parts(text, true)?;
    let (main, fragment) = text
        .split_once('#')
        .map_or((text, None), |(main, fragment)| (main, Some(fragment)));
    if let Some(fragment) = fragment {
        unescape(fragment)?;
    }
    let mut url = parse_parts(main, false)?;
    url.fragment = fragment
        .filter(|fragment| !fragment.is_empty())
        .map(str::to_owned);
    Some(url)
}

fn parse_parts(text: &str, request: bool) -> Option<Url> {
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
        url.host = parse_host(host)?;
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

fn parse_host(host: &str) -> Option<String> {
    let port = if host.starts_with('[') {
        let end = host.rfind(']')?;
        host.get(end + 1..)?
    } else {
        host.rfind(':')
            .and_then(|colon| host.get(colon..))
            .unwrap_or_default()
    };
    let digits = port
        .strip_prefix(':')
        .unwrap_or(if port.is_empty() { "" } else { "x" });
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(())?;
    let allowed = |byte: u8| {
        byte >= 0x80 || byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"%".contains(&byte)
    };
    host.bytes().all(allowed).then_some(())?;
    let plain = unescape(host)?;
    // Only bytes that are not ASCII may be escaped in a host.
    let escaped_ascii = host.match_indices('%').any(|(index, _)| {
        host.get(index + 1..index + 2)
            .is_some_and(|digit| matches!(digit.as_bytes(), [b'0'..=b'7']))
            && !host
                .get(index..index + 3)
                .is_some_and(|escape| escape == "%25" && host.starts_with('['))
    });
    (!escaped_ascii).then_some(plain)
}

/// Undoes percent escapes; nothing if one of them is broken.
fn unescape(text: &str) -> Option<String> {
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
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

impl Url {
    fn hostname(&self) -> &str {
        if let Some(inner) = self.host.strip_prefix('[') {
            return inner.split(']').next().unwrap_or_default();
        }
        self.host
            .rsplit_once(':')
            .map_or(self.host.as_str(), |(name, _)| name)
    }

    fn port(&self) -> &str {
        let after = self.host.rsplit(']').next().unwrap_or_default();
        after.rsplit_once(':').map_or("", |(_, port)| port)
    }

    /// The path as it was written, with an escape for what should have had one.
    fn escaped_path(&self) -> String {
        let mut escaped = String::with_capacity(self.path.len());
        for byte in self.path.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@/%[]".contains(&byte) {
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

    fn values(&self) -> BTreeMap<String, Vec<String>> {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in self
            .query
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.contains(';'))
        {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let (Some(key), Some(value)) = (
                unescape(&key.replace('+', " ")),
                unescape(&value.replace('+', " ")),
            ) {
                values.entry(key).or_default().push(value);
            }
        }
        values
    }
}

pub(super) fn find(name: &str) -> Option<Implementation> {
    Some(match name {
        "url" => |context, args| {
            let url = parsed(context, args)?.ok_or_else(|| Failure::new("invalid URL"))?;
            Ok(Value::Url(url.into()))
        },
        "isURL" => |context, args| Ok(Value::Bool(parsed(context, args)?.is_some())),
        "getScheme" => |context, args| part(context, args, |url| url.scheme.clone()),
        "getHost" => |context, args| part(context, args, |url| url.host.clone()),
        "getHostname" => |context, args| part(context, args, |url| url.hostname().to_owned()),
        "getPort" => |context, args| part(context, args, |url| url.port().to_owned()),
        "getEscapedPath" => |context, args| part(context, args, Url::escaped_path),
        "getQuery" => |context, args| match args {
            [Value::Url(url)] => {
                context.budget.bytes(url.query.len())?;
                let mut map = Map::default();
                for (key, values) in url.values() {
                    context.budget.elements(1 + values.len())?;
                    let values =
                        Value::native_list(values.into_iter().map(Value::string).collect());
                    map.strings.insert(key.into(), values);
                }
                Ok(Value::map(map))
            }
            _ => Err(Failure::no_overload("getQuery")),
        },
        _ => return None,
    })
}

fn parsed(context: &mut Context<'_>, args: &[Value]) -> Result<Option<Url>, Failure> {
    match args {
        [Value::String(text)] => {
            context.budget.bytes(text.len())?;
            Ok(parse(text))
        }
        _ => Err(Failure::no_overload("url")),
    }
}

fn part(
    context: &mut Context<'_>,
    args: &[Value],
    of: impl Fn(&Url) -> String,
) -> Result<Value, Failure> {
    match args {
        [Value::Url(url)] => {
            let text = of(url);
            context.budget.bytes(text.len())?;
            Ok(Value::string(text))
        }
        _ => Err(Failure::no_overload("url method")),
    }
}
