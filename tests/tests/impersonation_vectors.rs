//! What kube-apiserver makes of `Impersonate-*` headers, case by case, against what the proxy makes of them: `tests/vectors/impersonation.json`.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;

use oidcproxy_tests::{
    api_server::{Answer, FakeApiServer, Recorded},
    client::{Call, Client, Protocol},
    issuer::FakeIssuer,
    proxy::{ProxyUnderTest, Setup},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

const TARGET: &str = "/api/v1/namespaces/ns1/pods";
const VECTORS: &str = include_str!("../vectors/impersonation.json");
const DIFFERENCES: &str = include_str!("../../docs/differences.md");
const ORIGINAL_USER: &str = "originaluser.jetstack.io-";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// For who reads the file.
    #[serde(rename = "conventions")]
    _conventions: IgnoredAny,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    filter: String,
    allow: String,
    headers: Vec<Value>,
    expect: Expectation,
    only: Option<String>,
    /// What the proxy does otherwise.
    proxy: Option<Expectation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    status: u16,
    user: Option<Value>,
    authz: Option<Vec<String>>,
    group_count: Option<usize>,
}

impl Vector {
    fn expected(&self) -> &Expectation {
        self.proxy.as_ref().unwrap_or(&self.expect)
    }

    fn protocols(&self) -> Vec<Protocol> {
        match self.only.as_deref() {
            Some("h1") => vec![Protocol::H1],
            Some("h2") => vec![Protocol::H2],
            _ => Protocol::BOTH.to_vec(),
        }
    }

    /// Names and values, with repetitions.
    fn lines(&self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        for header in &self.headers {
            let (name, value) = (header[0].as_str().unwrap(), header[1].as_str().unwrap());
            for index in 0..header[2].as_u64().unwrap_or(1) {
                lines.push((name.to_owned(), value.replace("{{i}}", &index.to_string())));
            }
        }
        lines
    }

    fn allows(&self, attributes: &Value) -> bool {
        let verb = attributes["verb"].as_str().unwrap();
        match self.allow.as_str() {
            "all" => true,
            "legacy" => verb == "impersonate",
            "constrained" => verb != "impersonate",
            _ => false,
        }
    }
}

/// A proxy before a kube-apiserver of one minor version.
struct Bed {
    issuer: FakeIssuer,
    api: FakeApiServer,
    _proxy: ProxyUnderTest,
    client: Client,
}

impl Bed {
    async fn start(minor: &str) -> Self {
        let issuer = FakeIssuer::start().await.unwrap();
        let api = FakeApiServer::start().await.unwrap();
        let version = json!({
            "major": "1", "minor": minor, "gitVersion": "", "gitCommit": "", "gitTreeState": "",
            "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
        });
        api.answer("/version", Answer::Json(200, version));
        let proxy = Setup::new(&api, &issuer).start(&issuer).await;
        let proxy = proxy.unwrap_or_else(|error| panic!("{error:#}"));
        let client = proxy.client();
        Self {
            issuer,
            api,
            _proxy: proxy,
            client,
        }
    }

    /// Sends a vector's headers, byte for byte over HTTP/1.1; answers with the status.
    async fn send(&self, vector: &Vector, protocol: Protocol, token: &str) -> anyhow::Result<u16> {
        if protocol == Protocol::H2 {
            let mut call = Call::get(TARGET).bearer(token);
            for (name, value) in vector.lines() {
                call = call.header(&name, value);
            }
            return Ok(self.client.send(protocol, call).await?.status);
        }
        let mut head = format!(
            "GET {TARGET} HTTP/1.1\r\nHost: k8s.example\r\nAuthorization: Bearer {token}\r\n"
        );
        for (name, value) in vector.lines() {
            head.extend([&name, ": ", &value, "\r\n"]);
        }
        let mut raw = self.client.raw().await?;
        // Who is refused may be refused before everything was said.
        let _ = raw.write(head + "\r\n").await;
        Ok(raw.head().await?.status)
    }

    async fn check(&self, vector: &Vector, protocol: Protocol) -> Result<(), String> {
        // Decisions are remembered, so nobody asks twice.
        let requester = format!("{}-{protocol:?}", vector.name);
        let token = self.issuer.token(&requester, &[]);
        self.api.reviews().revoke_all();
        for verb in ["impersonate", "impersonate:", "impersonate-on:"] {
            if vector.allows(&json!({"verb": verb})) {
                self.api.reviews().allow_verb(&requester, verb);
            }
        }
        let (asked_before, seen_before) =
            (self.api.reviews().asked().len(), self.api.forwarded().len());
        let status = self.send(vector, protocol, &token).await;
        let status = status.map_err(|error| format!("no answer: {error:#}"))?;
        let expected = vector.expected();
        if status != expected.status {
            return Err(format!("status {status} instead of {}", expected.status));
        }
        let forwarded = self.api.forwarded().split_off(seen_before);
        match (forwarded.as_slice(), status) {
            ([request], 200) => check_identity(request, expected, &requester)?,
            ([], status) if status != 200 => {}
            (other, _) => return Err(format!("forwarded: {other:#?}")),
        }
        let asked = self.api.reviews().asked().split_off(asked_before);
        match &expected.authz {
            Some(authz) => check_reviews(vector, authz, &asked),
            None => Ok(()),
        }
    }
}

fn check_identity(
    request: &Recorded,
    expected: &Expectation,
    requester: &str,
) -> Result<(), String> {
    let mut extra = json!({});
    for name in request.names("impersonate-extra-") {
        let key = percent_encoded(&name["impersonate-extra-".len()..]);
        if !key.starts_with(ORIGINAL_USER) {
            extra[&key] = json!(request.extra(&key));
        }
    }
    let mut seen = json!({"username": request.user(), "groups": request.groups()});
    if let Some(uid) = request.value("impersonate-uid") {
        seen["uid"] = json!(uid);
    }
    if extra != json!({}) {
        seen["extra"] = extra;
    }
    if let Some(count) = expected.group_count
        && request.groups().len() != count
    {
        return Err(format!("{} groups", request.groups().len()));
    }
    let Some(mut wanted) = expected.user.clone() else {
        return Ok(());
    };
    // Who impersonates nobody is the requester: the "proxy" of the vectors.
    if wanted["username"] == "proxy" {
        wanted["username"] = json!(requester);
    }
    if expected.group_count.is_some() {
        seen = json!({"username": seen["username"]});
    }
    if seen == wanted {
        Ok(())
    } else {
        Err(format!("seen as {seen} instead of {wanted}"))
    }
}

fn percent_encoded(name: &str) -> String {
    percent_encoding::percent_decode_str(name)
        .decode_utf8_lossy()
        .into_owned()
}

/// The same questions with the same verdicts. kube-apiserver asks one after the other and stops at the first denial; the proxy asks the
/// parts of an identity at the same time, so their order means nothing, and of what belongs together more may be asked than the denied one.
fn check_reviews(vector: &Vector, expected: &[String], asked: &[Value]) -> Result<(), String> {
    let seen: Vec<String> = asked.iter().map(|spec| described(vector, spec)).collect();
    let set = |lines: &[String]| lines.iter().cloned().collect::<BTreeSet<_>>();
    let (wanted, all) = (set(expected), set(&seen));
    let denied = expected.iter().any(|line| line.ends_with(" deny"));
    let refused = vector.expected().status == 403;
    let complete = wanted == all || (denied && refused && wanted.is_subset(&all));
    // What constrained impersonation asks first is asked first.
    let first_is_first = !vector.filter.starts_with("constrained")
        || expected
            .first()
            .is_none_or(|first| seen.first() == Some(first));
    if complete && first_is_first && all.len() == seen.len() {
        Ok(())
    } else {
        Err(format!("reviewed {seen:#?} instead of {expected:#?}"))
    }
}

/// In the words of the vectors: `verb resource[/subresource][.apigroup] "[namespace/]name" verdict`.
fn described(vector: &Vector, spec: &Value) -> String {
    let attributes = &spec["resourceAttributes"];
    let part = |name: &str| attributes[name].as_str().unwrap_or_default();
    let mut line = format!("{} {}", part("verb"), part("resource"));
    for (mark, name) in [("/", "subresource"), (".", "group")] {
        if !part(name).is_empty() {
            line.push_str(mark);
            line.push_str(part(name));
        }
    }
    let namespace = match part("namespace") {
        "" => String::new(),
        namespace => format!("{namespace}/"),
    };
    let verdict = if vector.allows(attributes) {
        "allow"
    } else {
        "deny"
    };
    format!("{line} \"{namespace}{}\" {verdict}", part("name"))
}

#[tokio::test]
async fn headers_mean_what_they_mean_to_kube_apiserver() {
    let File { vectors, .. } = serde_json::from_str(VECTORS).unwrap();
    let (legacy, constrained) = (Bed::start("34").await, Bed::start("36").await);
    let (mut passed, mut failed) = (0, Vec::new());
    for vector in &vectors {
        let bed = match vector.filter.as_str() {
            "constrained" => &constrained,
            "legacy-filter" => &legacy,
            other => panic!("{other}"),
        };
        let mut wrong = Vec::new();
        for protocol in vector.protocols() {
            if let Err(what) = bed.check(vector, protocol).await {
                wrong.push(format!("{} over {protocol:?}: {what}", vector.name));
            }
        }
        if wrong.is_empty() {
            passed += 1;
        } else {
            failed.extend(wrong);
        }
    }
    println!("{passed} passed, {} failed", vectors.len() - passed);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(vectors.len(), 54);
}

/// A difference that nobody wrote down is a defect, and so is one that is no more.
#[test]
fn differences_are_written_down() {
    let File { vectors, .. } = serde_json::from_str(VECTORS).unwrap();
    for vector in vectors {
        let documented = DIFFERENCES.contains(&format!("`{}`", vector.name));
        assert_eq!(documented, vector.proxy.is_some(), "{}", vector.name);
        if let Some(proxy) = &vector.proxy {
            // To the strict side only.
            assert!(proxy.status >= 400, "{}", vector.name);
        }
    }
}
