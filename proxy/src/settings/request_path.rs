//! The flags about what is forwarded, beside kube-apiserver's own: kube-oidc-proxy's, where it has
//! them.

use clap::Args;
use oidcproxy_crds::v1alpha1::{
    impersonation::{ClientIpExtra, StaticExtra},
    network::{Network, NetworkError},
    serving::ProxyProtocol,
    settings::{Settings, TokenPassthroughSettings},
};

/// What is forwarded, and for whom.
#[derive(Args, Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "they are switches")]
#[command(next_help_heading = "What is forwarded")]
pub(crate) struct RequestPathFlags {
    /// Extras that every request carries, as key=value; a key may come again
    #[arg(
        long,
        value_name = "KEY=VALUE",
        value_delimiter = ',',
        conflicts_with = "oidc_proxy"
    )]
    extra_user_headers: Vec<String>,
    /// Send the client's address as the extra remote-client-ip
    #[arg(long, conflicts_with = "oidc_proxy")]
    extra_user_header_client_ip: bool,
    /// Impersonate nobody: forward each verified token as it is, to an API server that trusts its issuer too; nobody is anonymous then
    #[arg(
        long,
        conflicts_with_all = ["oidc_proxy", "extra_user_headers", "extra_user_header_client_ip"]
    )]
    pub(crate) disable_impersonation: bool,
    /// Let the cluster review tokens that no issuer claims, and forward them as they are
    #[arg(long, conflicts_with = "oidc_proxy")]
    token_passthrough: bool,
    /// The audiences that such a review asks for; unless set, the API server's own
    #[arg(
        long,
        value_name = "AUDIENCE",
        value_delimiter = ',',
        requires = "token_passthrough"
    )]
    token_passthrough_audiences: Vec<String>,
    /// Networks whose X-Forwarded-For or PROXY protocol is believed
    #[arg(
        long,
        value_name = "CIDR",
        value_delimiter = ',',
        conflicts_with = "oidc_proxy"
    )]
    trusted_proxies: Vec<String>,
    /// Connections of trusted proxies begin with a PROXY protocol header, version 1 or 2
    #[arg(long, conflicts_with = "oidc_proxy", requires = "trusted_proxies")]
    proxy_protocol: bool,
}

/// Why such flags cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestPathError {
    /// Not of the form key=value.
    #[error("--extra-user-headers: {0:?} is not of the form key=value")]
    Pair(String),
    /// Not a network.
    #[error("--trusted-proxies: {0:?} {1}")]
    Network(String, NetworkError),
}

impl RequestPathFlags {
    /// Puts them into settings.
    pub(crate) fn apply(&self, mut settings: Settings) -> Result<Settings, RequestPathError> {
        for network in &self.trusted_proxies {
            network
                .parse::<Network>()
                .map_err(|error| RequestPathError::Network(network.clone(), error))?;
        }
        settings.impersonation.extra = self.extras()?;
        if self.extra_user_header_client_ip {
            settings.impersonation.client_ip_extra = ClientIpExtra::Enabled;
        }
        settings
            .serving
            .trusted_proxies
            .clone_from(&self.trusted_proxies);
        settings.authentication.token_passthrough =
            self.token_passthrough.then(|| TokenPassthroughSettings {
                audiences: self.token_passthrough_audiences.clone(),
            });
        if self.proxy_protocol {
            settings.serving.proxy_protocol = ProxyProtocol::Required;
        }
        Ok(settings)
    }

    /// Keys are lower-cased, as kube-apiserver would; values of a key that comes again add up.
    fn extras(&self) -> Result<Vec<StaticExtra>, RequestPathError> {
        let mut extras: Vec<StaticExtra> = Vec::new();
        for pair in &self.extra_user_headers {
            let wrong = || RequestPathError::Pair(pair.clone());
            let (key, value) = pair.split_once('=').ok_or_else(wrong)?;
            let is_plain = value.trim() == value && !value.chars().any(char::is_control);
            if key.trim().is_empty() || value.is_empty() || value.contains('=') || !is_plain {
                return Err(wrong());
            }
            let key = key.trim().to_lowercase();
            match extras.iter_mut().find(|known| known.key == key) {
                Some(known) => known.values.push(value.to_owned()),
                None => extras.push(StaticExtra {
                    key,
                    values: vec![value.to_owned()],
                }),
            }
        }
        Ok(extras)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(pairs: &[&str], networks: &[&str]) -> Result<Settings, RequestPathError> {
        let flags = RequestPathFlags {
            extra_user_headers: pairs.iter().map(|pair| (*pair).to_owned()).collect(),
            trusted_proxies: networks.iter().map(|cidr| (*cidr).to_owned()).collect(),
            ..RequestPathFlags::default()
        };
        flags.apply(Settings::default())
    }

    #[test]
    fn extras_are_kube_oidc_proxys() {
        let extras = applied(&["K1=foo", "k2=bar", "k1=baz"], &[]).unwrap();
        let extras = extras.impersonation.extra;
        let expected = [("k1", &["foo", "baz"][..]), ("k2", &["bar"])];
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(key, values)| StaticExtra {
                key: key.to_owned(),
                values: values.iter().map(ToString::to_string).collect(),
            })
            .collect();
        assert_eq!(extras, expected);
        for wrong in ["k", "=v", "k=", "k=a=b", " =v", "k=a\nb", "k= a"] {
            assert!(applied(&[wrong], &[]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn networks_are_networks() {
        assert!(applied(&[], &["10.0.0.0/8", "fd00::/8"]).is_ok());
        assert!(applied(&[], &["10.0.0.1"]).is_err());
    }
}
