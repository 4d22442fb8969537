//! The way out to issuers, as `spec.authentication.httpProxy` or the environment says, by Go's rules
//! for `HTTPS_PROXY` and `NO_PROXY`: those of kube-apiserver.

use std::net::IpAddr;

use url::{Host, Url};

use super::{authentication::HttpProxy, network::Network};

/// Why nothing can go out this way.
#[derive(Debug, thiserror::Error)]
pub enum EgressProxyError {
    /// Not the address of a proxy.
    #[error("url: must be an http or https URL of a host, without path, query and fragment")]
    Url,
    /// A status is read by many.
    #[error("url: must not hold a user or a password")]
    Credential,
    /// There is no way to leave out.
    #[error("noProxy: needs url")]
    NoUrl,
    /// Not a host.
    #[error(
        "noProxy[{0}]: must be *, a host name, an address or a network in CIDR notation, with or without a port"
    )]
    Exception(usize),
}

/// An HTTP proxy that is asked to CONNECT to issuers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EgressProxy {
    url: Url,
    exceptions: Vec<Exception>,
}

/// What is reached without it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Exception {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Hosts {
    All,
    /// This name, and those below it.
    Domain(String),
    /// Those below it only.
    Below(String),
    Address(IpAddr),
    Network(Network),
}

impl EgressProxy {
    /// None where nothing is asked for.
    pub fn of(given: &HttpProxy) -> Result<Option<Self>, EgressProxyError> {
        let Some(url) = &given.url else {
            return if given.no_proxy.is_empty() {
                Ok(None)
            } else {
                Err(EgressProxyError::NoUrl)
            };
        };
        let url = Url::parse(url).map_err(|_| EgressProxyError::Url)?;
        let is_bare = matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.has_host();
        if !matches!(url.scheme(), "http" | "https") || !is_bare {
            return Err(EgressProxyError::Url);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EgressProxyError::Credential);
        }
        let exceptions = given.no_proxy.iter().enumerate();
        let exceptions = exceptions
            .map(|(index, text)| exception(text).ok_or(EgressProxyError::Exception(index)))
            .collect::<Result<_, _>>()?;
        Ok(Some(Self { url, exceptions }))
    }

    /// Whether an exception means something; Go passes over those that do not.
    pub fn is_exception(text: &str) -> bool {
        exception(text).is_some()
    }

    /// Where the proxy is.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Its port, whether the URL says it or not.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or_default()
    }

    /// Whether this host is reached through it. Names are not resolved, as in Go; this machine
    /// itself never is.
    pub fn is_for(&self, host: &str, port: u16) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let address = bare.unwrap_or(&host).parse::<IpAddr>().ok();
        if host == "localhost"
            || address.is_some_and(|address| address.to_canonical().is_loopback())
        {
            return false;
        }
        !self
            .exceptions
            .iter()
            .any(|exception| exception.matches(&host, address, port))
    }
}

impl Exception {
    fn matches(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        if self.port.is_some_and(|only| only != port) {
            return false;
        }
        let is_below = |domain: &str| {
            let labels = host.strip_suffix(domain);
            address.is_none() && labels.is_some_and(|labels| labels.ends_with('.'))
        };
        match &self.hosts {
            Hosts::All => true,
            Hosts::Domain(domain) => host == domain || is_below(domain),
            Hosts::Below(domain) => is_below(domain),
            Hosts::Address(only) => address.is_some_and(|it| it.to_canonical() == *only),
            Hosts::Network(network) => address.is_some_and(|it| network.contains(it)),
        }
    }
}

fn exception(text: &str) -> Option<Exception> {
    let all = |hosts| Some(Exception { hosts, port: None });
    if text == "*" {
        return all(Hosts::All);
    }
    if let Ok(network) = text.parse() {
        return all(Hosts::Network(network));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return all(Hosts::Address(address.to_canonical()));
    }
    let (host, port) = match text.rsplit_once(':') {
        None => (text, None),
        Some((host, port)) => (host, Some(port.parse().ok()?)),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(host).parse::<IpAddr>() {
        let hosts = Hosts::Address(address.to_canonical());
        return Some(Exception { hosts, port });
    }
    let host = host.strip_prefix('*').unwrap_or(host);
    let below = host.strip_prefix('.');
    let name = below.unwrap_or(host).trim_end_matches('.');
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = !name.is_empty()
        && name.bytes().all(is_plain)
        && matches!(Host::parse(name), Ok(Host::Domain(_)));
    let name = name.to_ascii_lowercase();
    let hosts = match below {
        Some(_) => Hosts::Below(name),
        // Only a whole label may be left open.
        None if text.starts_with('*') => return None,
        None => Hosts::Domain(name),
    };
    is_name.then_some(Exception { hosts, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str, no_proxy: &[&str]) -> Result<Option<EgressProxy>, String> {
        let given = HttpProxy {
            url: (!url.is_empty()).then(|| url.to_owned()),
            no_proxy: no_proxy.iter().map(ToString::to_string).collect(),
        };
        EgressProxy::of(&given).map_err(|error| error.to_string())
    }

    #[test]
    fn only_the_address_of_a_proxy_will_do() {
        assert_eq!(of("", &[]), Ok(None));
        for (url, port) in [
            ("http://proxy", 80),
            ("https://proxy.example.com/", 443),
            ("http://10.0.0.1:3128", 3128),
            ("http://[fd00::1]:3128", 3128),
        ] {
            assert_eq!(of(url, &[]).unwrap().unwrap().port(), port, "{url}");
        }
        for url in [
            "proxy:3128",
            "socks5://proxy",
            "http://proxy/path",
            "http://proxy/?a",
            "http://proxy#a",
            "http://",
        ] {
            assert!(
                of(url, &[]).unwrap_err().starts_with("url: must be"),
                "{url}"
            );
        }
        for url in [
            "http://jane@proxy",
            "http://jane:secret@proxy",
            "http://:s@proxy",
        ] {
            let error = of(url, &[]).unwrap_err();
            assert_eq!(error, "url: must not hold a user or a password", "{url}");
        }
        assert_eq!(of("", &["a"]), Err("noProxy: needs url".to_owned()));
    }

    #[test]
    fn exceptions_are_gos() {
        let rows: &[(&str, &[&str], &[&str])] = &[
            ("*", &["a.example.com:443", "10.0.0.1:443"], &[]),
            (
                "example.com",
                &["example.com:443", "ID.example.com:443", "a.b.example.com:1"],
                &["notexample.com:443", "example.org:443"],
            ),
            (
                ".example.com",
                &["id.example.com:443"],
                &["example.com:443", "notexample.com:443"],
            ),
            (
                "*.example.com",
                &["id.example.com:443"],
                &["example.com:443"],
            ),
            (
                "example.com:8443",
                &["example.com:8443", "id.example.com:8443"],
                &["example.com:443"],
            ),
            (
                "10.0.0.1",
                &["10.0.0.1:443"],
                &["10.0.0.2:443", "x10.0.0.1:443"],
            ),
            ("10.0.0.1:8443", &["10.0.0.1:8443"], &["10.0.0.1:443"]),
            (
                "10.0.0.0/8",
                &["10.1.2.3:443"],
                &["11.0.0.1:443", "a.10.0.0.1.com:443"],
            ),
            ("fd00::/8", &["[fd00::1]:443"], &["[fe80::1]:443"]),
            ("fd00::1", &["[fd00::1]:443"], &["[fd00::2]:443"]),
            ("[fd00::1]:8443", &["[fd00::1]:8443"], &["[fd00::1]:443"]),
        ];
        for (text, without, through) in rows {
            let proxy = of("http://proxy", &[text]).unwrap().unwrap();
            let is_for = |server: &str| {
                let (host, port) = server.rsplit_once(':').unwrap();
                proxy.is_for(host, port.parse().unwrap())
            };
            for server in *without {
                assert!(!is_for(server), "{text}: {server}");
            }
            for server in *through {
                assert!(is_for(server), "{text}: {server}");
            }
        }
    }

    #[test]
    fn this_machine_is_reached_directly() {
        let proxy = of("http://proxy", &[]).unwrap().unwrap();
        for host in ["localhost", "LOCALHOST.", "127.0.0.1", "127.1.2.3", "[::1]"] {
            assert!(!proxy.is_for(host, 443), "{host}");
        }
        assert!(proxy.is_for("localhost.example.com", 443));
    }

    #[test]
    fn exceptions_that_mean_nothing_are_refused() {
        for text in [
            "",
            "a b",
            "https://id.example.com",
            "id.example.com:x",
            "a*b",
            "*a",
            "10.0.0.1/8",
            ".",
            "a/b",
        ] {
            let error = of("http://proxy", &["ok", text]).unwrap_err();
            assert!(error.starts_with("noProxy[1]: "), "{text}: {error}");
        }
    }
}
