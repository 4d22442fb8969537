//! Plays what kube-apiserver was observed to do with expressions: `data/expressions.json` holds configurations, claims
//! and outcomes. The mapping rules around the expressions are kube-apiserver's too, as far as the data need them.

#![expect(
    clippy::indexing_slicing,
    reason = "indexing JSON gives null for what is missing"
)]

use std::collections::BTreeMap;

use oidcproxy_expression::{Environment, Program, ResultType, User, Value};
use serde_json::{Map, Value as Json};

type Extra = BTreeMap<String, Vec<String>>;

#[derive(Debug, Default, PartialEq)]
struct Identity {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: Extra,
}

#[derive(Debug, PartialEq)]
enum Outcome {
    ConfigError(String),
    Rejected(String),
    Accepted(Identity),
}

#[test]
fn expressions_behave_as_in_kube_apiserver() {
    let vectors: Vec<Json> =
        serde_json::from_str(include_str!("data/expressions.json")).expect("the data are JSON");
    let (mut passed, mut failed) = (0, Vec::new());
    for vector in &vectors {
        let outcome = play(vector);
        if agrees(&outcome, &vector["expect"]) {
            passed += 1;
        } else {
            failed.push(format!("{}: {outcome:?}", vector["name"]));
        }
    }
    println!("{passed} passed, {} failed", failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn agrees(outcome: &Outcome, expected: &Json) -> bool {
    if let Some(config) = expected["config"].as_str() {
        return (config == "error") == matches!(outcome, Outcome::ConfigError(_));
    }
    match (outcome, &expected["user"]) {
        (Outcome::Rejected(_), Json::Null) => expected["error"] == true,
        (Outcome::Accepted(identity), user @ Json::Object(_)) => {
            let strings = |value: &Json| -> Vec<String> {
                value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|text| text.as_str().map(str::to_owned))
                    .collect()
            };
            let extra = user["extra"].as_object().into_iter().flatten();
            *identity
                == Identity {
                    username: user["username"].as_str().unwrap_or_default().to_owned(),
                    uid: user["uid"].as_str().unwrap_or_default().to_owned(),
                    groups: strings(&user["groups"]),
                    extra: extra
                        .map(|(key, values)| (key.clone(), strings(values)))
                        .collect(),
                }
        }
        _ => false,
    }
}

fn play(vector: &Json) -> Outcome {
    match compile(vector) {
        Err(problem) => Outcome::ConfigError(problem),
        Ok(compiled) => {
            let claims = vector["claims"].as_object().cloned().unwrap_or_default();
            match compiled.map(vector, &claims) {
                Ok(identity) => Outcome::Accepted(identity),
                Err(problem) => Outcome::Rejected(problem),
            }
        }
    }
}

#[derive(Default)]
struct Compiled {
    username: Option<Program>,
    groups: Option<Program>,
    uid: Option<Program>,
    extra: Vec<(String, Program)>,
    claim_rules: Vec<Program>,
    user_rules: Vec<Program>,
}

fn program(source: &Json, environment: Environment) -> Result<Option<Program>, String> {
    source
        .as_str()
        .map(|source| Program::compile(source, environment).map_err(|error| error.to_string()))
        .transpose()
}

fn rules(list: &Json, environment: Environment) -> Result<Vec<Program>, String> {
    let mut rules = Vec::new();
    for rule in list.as_array().into_iter().flatten() {
        if let Some(program) = program(&rule["expression"], environment)? {
            if program.result_type() != ResultType::Bool {
                return Err("must evaluate to bool".to_owned());
            }
            rules.push(program);
        }
    }
    Ok(rules)
}

fn compile(vector: &Json) -> Result<Compiled, String> {
    let mappings = &vector["claimMappings"];
    let mut compiled = Compiled {
        username: program(&mappings["username"]["expression"], Environment::Claims)?,
        groups: program(&mappings["groups"]["expression"], Environment::Claims)?,
        uid: program(&mappings["uid"]["expression"], Environment::Claims)?,
        claim_rules: rules(&vector["claimValidationRules"], Environment::Claims)?,
        user_rules: rules(&vector["userValidationRules"], Environment::User)?,
        ..Compiled::default()
    };
    for extra in mappings["extra"].as_array().into_iter().flatten() {
        let key = extra["key"].as_str().unwrap_or_default().to_owned();
        compiled.extra.extend(
            program(&extra["valueExpression"], Environment::Claims)?.map(|program| (key, program)),
        );
    }
    let names_by_email = compiled
        .username
        .as_ref()
        .is_some_and(|program| program.selects_claim("email"));
    let extras = compiled.extra.iter().map(|(_, program)| program);
    let mut verified = compiled
        .username
        .iter()
        .chain(extras)
        .chain(&compiled.claim_rules);
    if names_by_email && !verified.any(|program| program.selects_claim("email_verified")) {
        return Err("claims.email without claims.email_verified".to_owned());
    }
    Ok(compiled)
}

fn prefixed(mapping: &Json, value: &str) -> String {
    format!("{}{value}", mapping["prefix"].as_str().unwrap_or_default())
}

fn strings(value: Value) -> Result<Vec<String>, String> {
    let all = match value {
        Value::Null => Vec::new(),
        Value::String(text) => vec![text.to_string()],
        Value::Strings(texts) => texts.iter().map(ToString::to_string).collect(),
        other => return Err(format!("{other:?} is no string or list of strings")),
    };
    Ok(all.into_iter().filter(|text| !text.is_empty()).collect())
}

impl Compiled {
    fn map(&self, vector: &Json, claims: &Map<String, Json>) -> Result<Identity, String> {
        let mappings = &vector["claimMappings"];
        let run = |program: &Program| {
            program
                .evaluate_claims(claims)
                .map_err(|error| error.to_string())
        };
        let claim = |mapping: &Json| mapping["claim"].as_str().and_then(|name| claims.get(name));

        let username = match &self.username {
            Some(program) => match run(program)? {
                Value::String(name) if !name.is_empty() => name.to_string(),
                other => return Err(format!("username is {other:?}")),
            },
            None => prefixed(
                &mappings["username"],
                claim(&mappings["username"])
                    .and_then(Json::as_str)
                    .ok_or("username")?,
            ),
        };
        let mut identity = Identity {
            username,
            ..Identity::default()
        };
        identity.groups = if let Some(program) = &self.groups {
            strings(run(program)?)?
        } else {
            let groups = claim(&mappings["groups"])
                .and_then(Json::as_array)
                .into_iter()
                .flatten();
            groups
                .filter_map(Json::as_str)
                .map(|group| prefixed(&mappings["groups"], group))
                .collect()
        };
        if let Some(program) = &self.uid {
            match run(program)? {
                Value::String(uid) => identity.uid = uid.to_string(),
                other => return Err(format!("uid is {other:?}")),
            }
        }
        if let Some(jti) = claims
            .get("jti")
            .and_then(Json::as_str)
            .filter(|jti| !jti.is_empty())
        {
            let key = "authentication.kubernetes.io/credential-id".to_owned();
            identity.extra.insert(key, vec![format!("JTI={jti}")]);
        }
        for (key, program) in &self.extra {
            let values = strings(run(program)?)?;
            if !values.is_empty() {
                identity.extra.insert(key.clone(), values);
            }
        }
        for rule in vector["claimValidationRules"]
            .as_array()
            .into_iter()
            .flatten()
        {
            if let Some(name) = rule["claim"].as_str()
                && claims.get(name).and_then(Json::as_str) != rule["requiredValue"].as_str()
            {
                return Err(format!("required claim {name}"));
            }
        }
        for program in &self.claim_rules {
            holds(program, &run(program)?)?;
        }
        let Identity {
            username,
            uid,
            groups,
            extra,
        } = &identity;
        for program in &self.user_rules {
            let user = User {
                username,
                uid,
                groups,
                extra,
            };
            let value = program
                .evaluate_user(&user)
                .map_err(|error| error.to_string())?;
            holds(program, &value)?;
        }
        Ok(identity)
    }
}

fn holds(program: &Program, value: &Value) -> Result<(), String> {
    if *value == Value::Bool(true) {
        Ok(())
    } else {
        Err(format!("{} is {value:?}", program.source()))
    }
}
