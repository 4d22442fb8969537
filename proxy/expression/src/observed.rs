//! Compares with what kube-apiserver's own compiler and evaluator said of some hundred expressions: whether they compile,
//! their static type, their value and their cost.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::{
    Environment, User,
    check::{check, validate},
    eval::{self, claims::Root, value::Value},
    syntax::parse,
};

#[test]
fn expressions_are_what_they_are_in_kube_apiserver() {
    let data: Json = serde_json::from_str(include_str!("../tests/data/observed.json"))
        .expect("the data are JSON");
    let (mut passed, mut failed) = (0, Vec::new());
    for observation in data["observations"].as_array().expect("a list") {
        let expected = Seen::expected(observation);
        let seen = look(observation, &data);
        if seen.agrees(&expected) {
            passed += 1;
        } else {
            failed.push(format!(
                "{}: {seen:?}, expected {expected:?}",
                observation["expression"]
            ));
        }
    }
    println!("{passed} passed, {} failed", failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[derive(Debug)]
#[expect(dead_code, reason = "the messages are for whoever reads a failure")]
enum Seen {
    Refused(String),
    Failed(String, String),
    Value(String, String, Option<u64>),
}

impl Seen {
    fn expected(observation: &Json) -> Self {
        let text = |name: &str| observation[name].as_str().unwrap_or_default().to_owned();
        if observation["refused"] == true {
            Self::Refused(String::new())
        } else if observation["fails"] == true {
            Self::Failed(text("type"), String::new())
        } else {
            Self::Value(text("type"), text("value"), observation["cost"].as_u64())
        }
    }

    fn agrees(&self, expected: &Self) -> bool {
        match (self, expected) {
            (Self::Refused(_), Self::Refused(_)) => true,
            (Self::Failed(one, _), Self::Failed(other, _)) => one == other,
            (Self::Value(one, value, cost), Self::Value(other, expected, expected_cost)) => {
                one == other
                    && value == expected
                    && (expected_cost.is_none() || cost == expected_cost)
            }
            _ => false,
        }
    }
}

fn look(observation: &Json, data: &Json) -> Seen {
    let source = observation["expression"].as_str().expect("an expression");
    let environment = if observation["user"] == true {
        Environment::User
    } else {
        Environment::Claims
    };
    let compiled = parse(source).and_then(|(expr, nodes)| {
        let checked = check(&expr, nodes, environment)?;
        validate(&expr, &checked)?;
        Ok((
            checked.type_of(&expr).to_string(),
            eval::plan(&expr, &checked, environment)?,
        ))
    });
    let (known, node) = match compiled {
        Ok(compiled) => compiled,
        Err(refusal) => return Seen::Refused(refusal.message),
    };
    let user = &data["user"];
    let strings = |list: &Json| -> Vec<String> {
        list.as_array()
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .map(str::to_owned)
            .collect()
    };
    let groups = strings(&user["groups"]);
    let extra: BTreeMap<String, Vec<String>> = user["extra"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, values)| (key.clone(), strings(values)))
        .collect();
    let root = match environment {
        Environment::Claims => Root::claims(data["claims"].as_object().expect("an object")),
        Environment::User => Root::user(&User {
            username: "jane",
            uid: "",
            groups: &groups,
            extra: &extra,
        }),
    };
    match eval::evaluate_with_cost(&node, root) {
        (Ok(value), cost) => Seen::Value(known, show(&value), Some(cost)),
        (Err(failure), _) => Seen::Failed(known, failure.message.into_owned()),
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("b:{value}"),
        Value::Int(value) => format!("i:{value}"),
        Value::Uint(value) => format!("u:{value}"),
        Value::Double(value) => format!("d:{}", crate::library::general(*value)),
        Value::String(value) => format!("s:{value}"),
        Value::Bytes(value) => value
            .iter()
            .fold("x:".to_owned(), |text, byte| format!("{text}{byte:02x}")),
        Value::Optional(None) => "none".to_owned(),
        Value::Optional(Some(value)) => format!("some({})", show(value)),
        Value::Type(name) => format!("t:{name}"),
        Value::List(list, _) => {
            let items: Vec<String> = list.items.iter().map(show).collect();
            format!("[{}]", items.join(","))
        }
        other => format!("o:{}", other.type_name()),
    }
}
