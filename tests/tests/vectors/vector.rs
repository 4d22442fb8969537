//! The format `oidc-vectors/1`, as far as it is played here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
pub(crate) struct File {
    pub(crate) vectors: Vec<Vector>,
    pub(crate) http_vectors: Vec<HttpVector>,
}

#[derive(Deserialize)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) config: Option<Value>,
    pub(crate) config_raw: Option<String>,
    pub(crate) flags: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    pub(crate) disallowed_issuers: Vec<String>,
    #[serde(default)]
    pub(crate) idp: Map<String, Value>,
    pub(crate) other_idp: Option<Map<String, Value>>,
    pub(crate) token: Option<Token>,
    pub(crate) expect: Option<Expect>,
    pub(crate) expect_proxy: Option<Expect>,
    #[serde(default)]
    pub(crate) strict_ok: bool,
    #[serde(default)]
    pub(crate) lenient_ok: bool,
    pub(crate) retry_until_s: Option<u64>,
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
}

#[derive(Deserialize)]
pub(crate) struct Step {
    #[serde(default)]
    pub(crate) set_idp: Map<String, Value>,
    pub(crate) token: Option<Token>,
    pub(crate) expect: Option<Expect>,
    #[serde(default)]
    pub(crate) expect_hits: BTreeMap<String, usize>,
}

#[derive(Clone, Default, Deserialize)]
pub(crate) struct Token {
    #[serde(default)]
    pub(crate) header: Map<String, Value>,
    pub(crate) header_raw: Option<String>,
    #[serde(default)]
    pub(crate) claims: Map<String, Value>,
    pub(crate) claims_raw: Option<String>,
    pub(crate) claims_base64: Option<String>,
    #[serde(default)]
    pub(crate) sign: Sign,
    pub(crate) form: Option<String>,
    #[serde(default)]
    pub(crate) mutate: Vec<String>,
    pub(crate) raw: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
pub(crate) struct Sign {
    pub(crate) key: Option<String>,
    pub(crate) alg: Option<String>,
    pub(crate) secret: Option<String>,
    pub(crate) encoding: Option<String>,
    pub(crate) input: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Expect {
    pub(crate) user: Option<User>,
    #[serde(default)]
    pub(crate) error: bool,
    pub(crate) config: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub(crate) struct User {
    pub(crate) username: String,
    #[serde(default)]
    pub(crate) uid: String,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    #[serde(default)]
    pub(crate) extra: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
pub(crate) struct HttpVector {
    pub(crate) name: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) anonymous: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) expect: HttpExpect,
}

#[derive(Deserialize)]
pub(crate) struct HttpExpect {
    pub(crate) status: u16,
    pub(crate) user: Option<User>,
    #[serde(default)]
    pub(crate) warning: bool,
    pub(crate) forwarded_protocols: Option<Vec<String>>,
}
