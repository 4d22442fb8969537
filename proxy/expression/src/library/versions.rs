//! Semantic versions.

use std::cmp::Ordering;

use super::Implementation;
use crate::{
    error::Failure,
    eval::{Context, value::Value},
};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Version {
    major: u64,
    minor: u64,
    patch: u64,
    prerelease: Vec<Identifier>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    // In this order: numbers come before words.
    Number(u64),
    Word(String),
}

impl Ord for Version {
    /// Build metadata does not count; a version comes after its prereleases.
    fn cmp(&self, other: &Self) -> Ordering {
        (self.major, self.minor, self.patch)
            .cmp(&(other.major, other.minor, other.patch))
            .then_with(|| self.prerelease.is_empty().cmp(&other.prerelease.is_empty()))
            .then_with(|| self.prerelease.cmp(&other.prerelease))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn parse(text: &str) -> Option<Version> {
    let (text, build) = text
        .split_once('+')
        .map_or((text, None), |(text, build)| (text, Some(build)));
    let (text, prerelease) = text
        .split_once('-')
        .map_or((text, None), |(text, pre)| (text, Some(pre)));
    let mut numbers = text.split('.').map(number);
    let (major, minor, patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(())?;
    if let Some(build) = build {
        build.split('.').all(is_identifier).then_some(())?;
    }
    let prerelease = prerelease.map_or(Some(Vec::new()), |text| {
        text.split('.').map(identifier).collect()
    })?;
    Some(Version {
        major,
        minor,
        patch,
        prerelease,
    })
}

/// A number without leading zeros.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn identifier(text: &str) -> Option<Identifier> {
    is_identifier(text).then_some(())?;
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        number(text).map(Identifier::Number)
    } else {
        Some(Identifier::Word(text.to_owned()))
    }
}

/// Accepts a leading `v`, missing parts and leading zeros.
fn normalize(text: &str) -> Option<Version> {
    let mut parts: Vec<String> = text
        .strip_prefix('v')
        .unwrap_or(text)
        .splitn(3, '.')
        .map(without_zeros)
        .collect();
    if parts.len() < 3 {
        // A short version has nothing behind its numbers.
        parts
            .last()
            .is_none_or(|last| !last.contains(['+', '-']))
            .then_some(())?;
        parts.resize(3, "0".to_owned());
    }
    parse(&parts.join("."))
}

fn without_zeros(part: &str) -> String {
    if part.len() < 2 {
        return part.to_owned();
    }
    let trimmed = part.trim_start_matches('0');
    if trimmed.starts_with(|first: char| first.is_ascii_digit()) {
        trimmed.to_owned()
    } else {
        format!("0{trimmed}")
    }
}

pub(super) fn find(name: &str) -> Option<Implementation> {
    Some(match name {
        "semver" => |context, args| {
            let version =
                version(context, args)?.ok_or_else(|| Failure::new("invalid semantic version"))?;
            Ok(Value::Semver(version.into()))
        },
        "isSemver" => |context, args| Ok(Value::Bool(version(context, args)?.is_some())),
        "major" => |_, args| part(args, |version| version.major),
        "minor" => |_, args| part(args, |version| version.minor),
        "patch" => |_, args| part(args, |version| version.patch),
        _ => return None,
    })
}

fn version(context: &mut Context<'_>, args: &[Value]) -> Result<Option<Version>, Failure> {
    match args {
        [Value::String(text)] | [Value::String(text), Value::Bool(false)] => {
            context.budget.scan(text)?;
            Ok(parse(text))
        }
        [Value::String(text), Value::Bool(true)] => {
            context.budget.scan(text)?;
            Ok(normalize(text))
        }
        _ => Err(Failure::no_overload("semver")),
    }
}

/// Upstream lets what is too large for an int wrap around.
fn part(args: &[Value], of: impl Fn(&Version) -> u64) -> Result<Value, Failure> {
    match args {
        [Value::Semver(version)] => Ok(Value::Int(of(version).cast_signed())),
        _ => Err(Failure::no_overload("semver method")),
    }
}
