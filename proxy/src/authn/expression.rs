//! What the values of expressions mean for an identity. Compiling and evaluating is
//! `oidcproxy-expression`; empty names and lists are decided here, as kube-apiserver does.

use std::collections::BTreeMap;

use oidcproxy_crds::v1alpha1::issuer_expressions::RuleExpression;
use oidcproxy_expression::{EvaluationError, Program, User, Value};
use serde_json::{Map, Value as Json};

use super::TokenError;
use crate::identity::Identity;

type Claims = Map<String, Json>;

fn failed(field: &'static str) -> impl FnOnce(EvaluationError) -> TokenError {
    move |error| TokenError::Expression {
        field,
        reason: error.to_string(),
    }
}

fn odd(field: &'static str, reason: &str) -> TokenError {
    TokenError::Expression {
        field,
        reason: reason.to_owned(),
    }
}

/// A name, never an empty one.
pub(super) fn username(program: &Program, claims: &Claims) -> Result<String, TokenError> {
    let field = "claimMappings.username";
    match program.evaluate_claims(claims).map_err(failed(field))? {
        Value::String(name) if name.is_empty() => Err(odd(field, "the username is empty")),
        Value::String(name) => Ok(name.to_string()),
        _ => Err(odd(field, "the value is not a string")),
    }
}

/// A string; an empty one is none.
pub(super) fn uid(program: &Program, claims: &Claims) -> Result<Option<String>, TokenError> {
    let field = "claimMappings.uid";
    match program.evaluate_claims(claims).map_err(failed(field))? {
        Value::String(uid) => Ok(Some(uid.to_string()).filter(|uid| !uid.is_empty())),
        _ => Err(odd(field, "the value is not a string")),
    }
}

/// A string or a list of them; nothing, empty texts and `null` leave nothing.
pub(super) fn strings(
    program: &Program,
    claims: &Claims,
    field: &'static str,
) -> Result<Vec<String>, TokenError> {
    let values = match program.evaluate_claims(claims).map_err(failed(field))? {
        Value::Null => Vec::new(),
        Value::String(one) => vec![one],
        Value::Strings(list) => list,
        Value::Bool(_) | Value::Other(_) => {
            return Err(odd(
                field,
                "the value is neither a string nor a list of strings",
            ));
        }
    };
    let named = values.iter().filter(|value| !value.is_empty());
    Ok(named.map(ToString::to_string).collect())
}

/// All rules are evaluated before the first that is false counts: one that fails says more.
pub(super) fn check_claims(rules: &[RuleExpression], claims: &Claims) -> Result<(), TokenError> {
    let results = rules.iter().map(|rule| {
        let value = rule.program.evaluate_claims(claims);
        Ok::<_, TokenError>((rule, value.map_err(failed("claimValidationRules"))?))
    });
    first_false(results.collect::<Result<_, _>>()?).map_err(TokenError::ClaimRule)
}

/// The same over the mapped user. The groups that everybody gets are not among theirs yet.
pub(super) fn check_user(rules: &[RuleExpression], identity: &Identity) -> Result<(), TokenError> {
    if rules.is_empty() {
        return Ok(());
    }
    let extra: BTreeMap<_, _> = identity.extra.iter().cloned().collect();
    let user = User {
        username: &identity.username,
        uid: identity.uid.as_deref().unwrap_or_default(),
        groups: &identity.groups,
        extra: &extra,
    };
    let results = rules.iter().map(|rule| {
        let value = rule.program.evaluate_user(&user);
        Ok::<_, TokenError>((rule, value.map_err(failed("userValidationRules"))?))
    });
    first_false(results.collect::<Result<_, _>>()?).map_err(TokenError::UserRule)
}

/// The message of the first rule that does not hold, or its text.
fn first_false(results: Vec<(&RuleExpression, Value)>) -> Result<(), String> {
    let broken = results
        .into_iter()
        .find(|(_, value)| *value != Value::Bool(true));
    match broken {
        None => Ok(()),
        Some((rule, _)) => {
            let text = rule.message.as_deref();
            Err(text.unwrap_or_else(|| rule.program.source()).to_owned())
        }
    }
}
