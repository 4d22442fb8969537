//! Plays one vector: issuers, a proxy of its own, tokens.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use oidcproxy_tests::{
    api_server::FakeApiServer,
    client::{Call, Protocol},
    issuer::FakeIssuer,
    proxy::{ProxyUnderTest, Setup},
    tls::TestCa,
};
use serde_json::{Value, json};

use crate::{
    idp::Idp,
    judge::{Outcome, Verdict, judge, matches},
    token,
    vector::{Token, User, Vector},
};

/// What the placeholders stand for.
#[derive(Clone)]
pub(crate) struct Fill {
    issuer: String,
    other: String,
    ca_pem: String,
}

impl Fill {
    /// Fills in the placeholders of a JSON or YAML text.
    pub(crate) fn text(&self, text: &str) -> String {
        let quoted = Value::String(self.ca_pem.clone()).to_string();
        let text = text
            .replace("{{ISSUER}}", &self.issuer)
            .replace("{{OTHER}}", &self.other)
            .replace("{{CA_PEM}}", quoted.trim_matches('"'));
        times(&text)
    }
}

/// `"{{NOW+n}}"` with its quotes is a number; `:float` and `:string` after n say how it is written.
fn times(text: &str) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\"{{NOW") {
        let (inner, tail) = after.split_once("}}\"").unwrap();
        let (number, kind) = inner.split_once(':').unwrap_or((inner, ""));
        let offset: i64 = if number.is_empty() {
            0
        } else {
            number.parse().unwrap()
        };
        let time = oidcproxy_tests::jose::now() + offset;
        filled += before;
        match kind {
            "float" => write!(filled, "{time}.5"),
            "string" => write!(filled, "\"{time}\""),
            _ => write!(filled, "{time}"),
        }
        .unwrap();
        rest = tail;
    }
    filled + rest
}

/// What all vectors share.
pub(crate) struct Place {
    ca: TestCa,
    api: FakeApiServer,
    nobody: FakeIssuer,
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self {
            ca: TestCa::new("identity providers").unwrap(),
            api: FakeApiServer::start().await.unwrap(),
            nobody: FakeIssuer::start_down().unwrap(),
        }
    }

    pub(crate) async fn play(&self, vector: &Vector) -> Verdict {
        let idp = Idp::new(&self.ca, vector.idp.clone());
        let other = Idp::new(&self.ca, vector.other_idp.clone().unwrap_or_default());
        let fill = Fill {
            issuer: idp.url().to_owned(),
            other: other.url().to_owned(),
            ca_pem: self.ca.pem(),
        };
        idp.start(fill.clone()).await;
        other.start(fill.clone()).await;
        let proxy = match self.start(vector, &fill).await {
            Ok(proxy) => proxy,
            Err(error) if vector.steps.is_empty() => {
                return judge(
                    vector,
                    &Outcome::ConfigurationRefused(last_line(&error)),
                    &fill,
                );
            }
            Err(error) => return Verdict::Failed(format!("{error:#}")),
        };
        if !vector.steps.is_empty() {
            return play_steps(vector, &proxy, &idp, &fill).await;
        }
        let Some(described) = &vector.token else {
            return judge(vector, &Outcome::ConfigurationTaken, &fill);
        };
        let token = token::build(described, &fill);
        let deadline = Instant::now() + Duration::from_secs(vector.retry_until_s.unwrap_or(0));
        loop {
            let outcome = present(&proxy, &token).await;
            let done = matches(vector.expect.as_ref().unwrap(), &outcome, &fill);
            if done || Instant::now() >= deadline {
                return judge(vector, &outcome, &fill);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn start(&self, vector: &Vector, fill: &Fill) -> anyhow::Result<ProxyUnderTest> {
        let mut setup = Setup::new(&self.api, &self.nobody);
        if let Some(flags) = &vector.flags {
            setup = setup.oidc_flags(&[]).issuer_ca(&self.ca.pem());
            for (name, value) in flags {
                for value in flag_values(value) {
                    setup = setup.flag(format!("--{name}={}", fill.text(&value)));
                }
            }
            setup = setup.flag("--oidc-ca-file={dir}/issuer-ca.crt");
        } else if let Some(raw) = &vector.config_raw {
            setup = setup.config_text(&fill.text(raw));
        } else {
            let mut config = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"});
            let fields = vector.config.clone().unwrap_or_default();
            for (name, value) in fields.as_object().into_iter().flatten() {
                config[name] = value.clone();
            }
            setup = setup.config_text(&fill.text(&config.to_string()));
        }
        for issuer in &vector.disallowed_issuers {
            setup = setup.flag(format!("--service-account-issuer={}", fill.text(issuer)));
        }
        setup.start(&self.nobody).await
    }
}

/// Several values are the flag several times: kube-apiserver does not split maps at commas.
fn flag_values(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(flag_values).collect(),
        Value::Object(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                format!("{key}={value}")
            });
            pairs.collect()
        }
        other => vec![other.to_string()],
    }
}

async fn play_steps(vector: &Vector, proxy: &ProxyUnderTest, idp: &Idp, fill: &Fill) -> Verdict {
    let mut fewer = false;
    for (number, step) in vector.steps.iter().enumerate() {
        idp.set(&step.set_idp).await;
        let played = match &step.token {
            Some(token) => present_step(proxy, token, step.expect.as_ref(), fill).await,
            None => None,
        };
        match played {
            None => {}
            Some(_) if vector.lenient_ok => return Verdict::Different,
            Some(why) => return Verdict::Failed(format!("step {number}: {why}")),
        }
        for (path, expected) in &step.expect_hits {
            let hits = idp.hits(path);
            fewer |= hits < *expected;
            if hits > *expected || (hits < *expected && !vector.strict_ok) {
                return Verdict::Failed(format!(
                    "step {number}: {hits} hits of {path} instead of {expected}"
                ));
            }
        }
    }
    if fewer {
        Verdict::Different
    } else {
        Verdict::Same
    }
}

async fn present_step(
    proxy: &ProxyUnderTest,
    token: &Token,
    expect: Option<&crate::vector::Expect>,
    fill: &Fill,
) -> Option<String> {
    let outcome = present(proxy, &token::build(token, fill)).await;
    let expected = expect.unwrap();
    (!matches(expected, &outcome, fill)).then(|| format!("expected {expected:?}, saw {outcome}"))
}

async fn present(proxy: &ProxyUnderTest, token: &str) -> Outcome {
    let call = Call::get("/api").bearer(token);
    let reply = match proxy.client().send(Protocol::H1, call).await {
        Ok(reply) => reply,
        Err(error) => return Outcome::Odd(format!("{error:#}")),
    };
    if reply.status == 200 {
        return Outcome::User(user(&reply.json()));
    }
    Outcome::Refused(reply.status)
}

/// What arrived, without the group that every authenticated user gets.
pub(crate) fn user(identity: &Value) -> User {
    let mut user = User {
        username: identity["user"].as_str().unwrap_or_default().to_owned(),
        uid: identity["uid"].as_str().unwrap_or_default().to_owned(),
        groups: serde_json::from_value(identity["groups"].clone()).unwrap(),
        extra: serde_json::from_value::<BTreeMap<_, _>>(identity["extra"].clone()).unwrap(),
    };
    if user
        .groups
        .last()
        .is_some_and(|group| group == "system:authenticated")
    {
        user.groups.pop();
    }
    user
}

/// What the proxy said before it ended.
fn last_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.lines().last().unwrap_or_default().to_owned()
}
