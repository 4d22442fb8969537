//! What the environment says of the network, as it does to every Go program.

use oidcproxy_crds::v1alpha1::{authentication::HttpProxy, egress_proxy::EgressProxy};

/// The way to issuers that the environment names, as it does for kube-apiserver: `HTTPS_PROXY` and
/// `NO_PROXY`, in capitals first.
pub(crate) fn egress_proxy(variable: impl Fn(&str) -> Option<String>) -> Option<HttpProxy> {
    let set = |name: &str| {
        let either = variable(name).filter(|value| !value.is_empty());
        either.or_else(|| variable(&name.to_lowercase()).filter(|value| !value.is_empty()))
    };
    let url = set("HTTPS_PROXY")?;
    // Without a scheme it is an http proxy.
    let url = if url.contains("://") {
        url
    } else {
        format!("http://{url}")
    };
    let exceptions = set("NO_PROXY").unwrap_or_default();
    let exceptions = exceptions.split(',').map(str::trim);
    let exceptions = exceptions.filter(|text| !text.is_empty());
    // What others of this machine understand need not be for us; Go passes over it, too.
    let (no_proxy, odd): (Vec<_>, Vec<_>) = exceptions
        .map(str::to_owned)
        .partition(|text| EgressProxy::is_exception(text));
    if !odd.is_empty() {
        tracing::warn!(?odd, "entries of NO_PROXY mean nothing here");
    }
    Some(HttpProxy {
        url: Some(url),
        no_proxy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_issuers_is_the_environments() {
        let of = |variables: &[(&str, &str)]| {
            let proxy = egress_proxy(|name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            });
            proxy.map(|proxy| (proxy.url.unwrap(), proxy.no_proxy.join("|")))
        };
        let way = |url: &str, no_proxy: &str| Some((url.to_owned(), no_proxy.to_owned()));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("NO_PROXY", "a"), ("HTTP_PROXY", "http://p")]), None);
        assert_eq!(of(&[("https_proxy", "p:3128")]), way("http://p:3128", ""));
        let both = [("HTTPS_PROXY", "https://a"), ("https_proxy", "http://b")];
        assert_eq!(of(&both), way("https://a", ""));
        let exceptions = [
            ("HTTPS_PROXY", "http://a"),
            ("no_proxy", "x, .y,,10.0.0.0/8,10.*"),
        ];
        assert_eq!(of(&exceptions), way("http://a", "x|.y|10.0.0.0/8"));
    }
}
