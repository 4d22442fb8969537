//! The small issuer of `make demo`: discovery, keys and the password grant, nothing else.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Parser;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    jose::{Alg, SigningKey, TokenBuilder, now, random_hex},
    server::{Body, full, serve},
    tls::Leaf,
};

const DISCOVERY: &str = "/.well-known/openid-configuration";
const MAX_FORM: usize = 16 * 1024;

/// A small OIDC issuer for demonstrations. Passwords equal user names: never use it for anything real.
#[derive(Debug, Parser)]
#[command(name = "test-issuer")]
pub struct Args {
    /// Address and port to listen on.
    #[arg(long)]
    pub listen: SocketAddr,
    /// The issuer as clients and verifiers name it.
    #[arg(long)]
    pub issuer_url: String,
    /// Serving certificate chain, PEM.
    #[arg(long)]
    pub tls_cert: PathBuf,
    /// Serving key, PEM.
    #[arg(long)]
    pub tls_key: PathBuf,
    /// The one client that may ask for tokens; also the audience.
    #[arg(long)]
    pub client_id: String,
    /// A user and the groups: `alice:dev,ops`. The password is the user name.
    #[arg(long = "user", value_parser = parse_user, required = true)]
    pub users: Vec<User>,
    /// How long tokens are valid: `600s`, `10m`, `1h`.
    #[arg(long, default_value = "600s", value_parser = parse_duration)]
    pub token_lifetime: Duration,
}

/// A user with the groups of its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: String,
    groups: Vec<String>,
}

fn parse_user(text: &str) -> Result<User> {
    let (name, groups) = text.split_once(':').unwrap_or((text, ""));
    ensure!(!name.is_empty(), "the user has no name");
    let groups = groups.split(',').filter(|group| !group.is_empty());
    Ok(User {
        name: name.to_owned(),
        groups: groups.map(str::to_owned).collect(),
    })
}

fn parse_duration(text: &str) -> Result<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().context("not a number with a unit")?;
    let seconds = match &text[digits.len()..] {
        "" | "s" => number,
        "m" => number * 60,
        "h" => number * 3600,
        unit => return Err(anyhow!("unknown unit {unit:?}: use s, m or h")),
    };
    ensure!(seconds > 0, "must be more than zero");
    Ok(Duration::from_secs(seconds))
}

/// Serves until `stop` is cancelled; requests in progress are finished.
pub async fn run(args: Args, stop: CancellationToken) -> Result<()> {
    let cert = read("--tls-cert", &args.tls_cert)?;
    let key = read("--tls-key", &args.tls_key)?;
    let tls = Leaf::from_pem(&cert, &key)
        .map_err(|error| anyhow!("cannot use --tls-cert and --tls-key: {error}"))?;
    let listen = args.listen;
    let issuer = Arc::new(Issuer::new(args)?);
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    let local = listener.local_addr()?;
    println!("test-issuer: {} on {local}", issuer.url);
    let tls = TlsAcceptor::from(Arc::new(tls));
    serve(
        listener,
        tls,
        stop,
        Duration::from_secs(5),
        move |request| {
            let issuer = issuer.clone();
            async move { issuer.answer(request).await }
        },
    )
    .await;
    Ok(())
}

fn read(flag: &str, path: &PathBuf) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {flag} {}", path.display()))
}

struct Issuer {
    url: String,
    base: String,
    path: String,
    client_id: String,
    users: BTreeMap<String, Vec<String>>,
    lifetime: Duration,
    key: SigningKey,
}

impl Issuer {
    fn new(args: Args) -> Result<Self> {
        // Verifiers compare the issuer byte for byte, so the text stays as it was given.
        let parsed = Url::parse(&args.issuer_url).context("--issuer-url is not a URL")?;
        ensure!(
            parsed.scheme() == "https" && parsed.query().is_none() && parsed.fragment().is_none(),
            "--issuer-url must be https:// without query and fragment"
        );
        Ok(Self {
            base: args.issuer_url.trim_end_matches('/').to_owned(),
            path: parsed.path().trim_end_matches('/').to_owned(),
            url: args.issuer_url,
            client_id: args.client_id,
            users: args.users.into_iter().map(|u| (u.name, u.groups)).collect(),
            lifetime: args.token_lifetime,
            key: SigningKey::generate(Alg::ES256, &random_hex(8))?,
        })
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let Some(rest) = path.strip_prefix(&self.path) else {
            return json_answer(StatusCode::NOT_FOUND, &json!({"error": "not_found"}));
        };
        match (request.method(), rest) {
            (&Method::GET | &Method::HEAD, DISCOVERY) => {
                json_answer(StatusCode::OK, &self.discovery())
            }
            (&Method::GET | &Method::HEAD, "/jwks") => {
                json_answer(StatusCode::OK, &json!({"keys": [self.key.jwk()]}))
            }
            (&Method::POST, "/token") => self.token(request).await,
            (_, DISCOVERY | "/jwks" | "/token") => json_answer(
                StatusCode::METHOD_NOT_ALLOWED,
                &json!({"error": "method_not_allowed"}),
            ),
            _ => json_answer(StatusCode::NOT_FOUND, &json!({"error": "not_found"})),
        }
    }

    fn discovery(&self) -> Value {
        json!({
            "issuer": self.url,
            "authorization_endpoint": format!("{}/authorize", self.base),
            "token_endpoint": format!("{}/token", self.base),
            "jwks_uri": format!("{}/jwks", self.base),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "grant_types_supported": ["password"],
            "scopes_supported": ["openid"],
            "token_endpoint_auth_methods_supported": ["none"],
            "claims_supported": ["sub", "iss", "aud", "iat", "exp", "jti", "email", "groups"],
        })
    }

    async fn token(&self, request: Request<Incoming>) -> Response<Body> {
        let basic = basic_user(request.headers().get(header::AUTHORIZATION));
        let Ok(body) = Limited::new(request.into_body(), MAX_FORM).collect().await else {
            return refuse("invalid_request");
        };
        let body = body.to_bytes();
        let form: BTreeMap<String, String> =
            url::form_urlencoded::parse(&body).into_owned().collect();
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        if field("grant_type") != "password" {
            return refuse("unsupported_grant_type");
        }
        let client = form.get("client_id").or(basic.as_ref());
        if client != Some(&self.client_id) {
            return refuse("invalid_client");
        }
        let user = field("username");
        let Some(groups) = self.users.get(user).filter(|_| field("password") == user) else {
            return refuse("invalid_grant");
        };
        let lifetime = self.lifetime.as_secs();
        let token = TokenBuilder::new(&self.url, &self.client_id, user)
            .claim(
                "exp",
                now() + i64::try_from(lifetime).unwrap_or(i64::MAX / 2),
            )
            .claim("email", format!("{user}@users.example"))
            .claim("groups", json!(groups))
            .claim("jti", random_hex(16))
            .sign(&self.key);
        let answer = json!({
            "id_token": token,
            "access_token": random_hex(16),
            "token_type": "Bearer",
            "expires_in": lifetime,
            "scope": "openid",
        });
        let mut response = json_answer(StatusCode::OK, &answer);
        let no_store = header::HeaderValue::from_static("no-store");
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, no_store);
        response
    }
}

/// Some clients put the client id into Basic credentials.
fn basic_user(value: Option<&header::HeaderValue>) -> Option<String> {
    let text = value?.to_str().ok()?.strip_prefix("Basic ")?;
    let decoded = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    decoded.split_once(':').map(|(user, _)| user.to_owned())
}

fn refuse(error: &str) -> Response<Body> {
    json_answer(StatusCode::BAD_REQUEST, &json!({"error": error}))
}

fn json_answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_groups_or_none() {
        assert_eq!(parse_user("alice:dev,ops").unwrap().groups, ["dev", "ops"]);
        assert!(parse_user("bob").unwrap().groups.is_empty());
        assert!(parse_user(":dev").is_err());
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("10m").unwrap().as_secs(), 600);
        assert!(parse_duration("0s").is_err());
        assert!(parse_duration("10d").is_err());
        assert!(parse_duration("soon").is_err());
    }
}
