//! The functions that kube-apiserver 1.37 declares, in a notation of one line per overload.
//!
//! `fn NAME(TYPES): TYPE` is called as written, `on TYPE NAME(TYPES): TYPE` as a method. A single capital letter is a type
//! parameter, except for `C` and `N`: such a line stands for one overload per comparable or summable type.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use super::types::Type;

#[derive(Debug)]
pub(crate) struct Overload {
    pub(crate) member: bool,
    /// The receiver of a member first.
    pub(crate) parameters: Vec<Type>,
    pub(crate) result: Type,
    /// How many type parameters the types use.
    pub(crate) generics: usize,
}

/// The overloads of a function.
pub(crate) fn overloads(function: &str) -> Option<(&'static str, &'static [Overload])> {
    FUNCTIONS
        .get_key_value(function)
        .map(|(name, overloads)| (*name, overloads.as_slice()))
}

static FUNCTIONS: LazyLock<BTreeMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let mut functions: BTreeMap<&'static str, Vec<Overload>> = BTreeMap::new();
    for line in lines() {
        for (name, overload) in declaration(line).unwrap_or_default() {
            functions.entry(name).or_default().push(overload);
        }
    }
    functions
});

fn lines() -> impl Iterator<Item = &'static str> {
    let texts = [
        include_str!("standard.txt"),
        include_str!("extensions.txt"),
        include_str!("kubernetes.txt"),
    ];
    texts
        .into_iter()
        .flat_map(str::lines)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

const COMPARABLE: [&str; 8] = [
    "int",
    "uint",
    "double",
    "bool",
    "duration",
    "timestamp",
    "string",
    "bytes",
];
const SUMMABLE: [&str; 4] = ["int", "uint", "double", "duration"];

fn declaration(line: &'static str) -> Option<Vec<(&'static str, Overload)>> {
    let mut words = Words { rest: line };
    let member = match words.word() {
        "fn" => false,
        "on" => true,
        _ => return None,
    };
    let each: &[&str] = match () {
        () if mentions(line, 'C') => &COMPARABLE,
        () if mentions(line, 'N') => &SUMMABLE,
        () => &["dyn"],
    };
    each.iter()
        .map(|one| overload(&mut Words { rest: words.rest }, member, one))
        .collect()
}

fn mentions(line: &str, letter: char) -> bool {
    line.split(|character: char| !character.is_ascii_alphanumeric())
        .any(|word| word.chars().eq([letter]))
}

fn overload(
    words: &mut Words<'static>,
    member: bool,
    each: &str,
) -> Option<(&'static str, Overload)> {
    let mut parameters = Vec::new();
    if member {
        parameters.push(words.type_(each)?);
    }
    let name = words.name();
    words.accept('(').then_some(())?;
    while !words.accept(')') {
        parameters.push(words.type_(each)?);
        words.accept(',');
    }
    words.accept(':').then_some(())?;
    let result = words.type_(each)?;
    let mut used = BTreeSet::new();
    parameters
        .iter()
        .chain([&result])
        .for_each(|one| variables(one, &mut used));
    let generics = used.last().map_or(0, |highest| highest + 1);
    words.rest.is_empty().then_some((
        name,
        Overload {
            member,
            parameters,
            result,
            generics,
        },
    ))
}

fn variables(of: &Type, used: &mut BTreeSet<usize>) {
    match of {
        Type::Variable(number) => {
            used.insert(usize::try_from(*number).unwrap_or_default());
        }
        Type::List(of) | Type::Optional(of) | Type::Type(Some(of)) => variables(of, used),
        Type::Map(key, value) => {
            variables(key, used);
            variables(value, used);
        }
        _ => {}
    }
}

struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        self.rest = self.rest.trim_start();
        let end = self
            .rest
            .find(|character| !wanted(character))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).unwrap_or(("", ""));
        self.rest = rest;
        word
    }

    fn word(&mut self) -> &'a str {
        self.take(|character| character.is_ascii_alphanumeric() || character == '.')
    }

    /// Operators are called as the parser calls them: `_+_`, `_?_:_`.
    fn name(&mut self) -> &'a str {
        self.take(|character| !matches!(character, '(' | ' '))
    }

    fn accept(&mut self, wanted: char) -> bool {
        self.rest = self.rest.trim_start();
        let stripped = self.rest.strip_prefix(wanted);
        self.rest = stripped.unwrap_or(self.rest);
        stripped.is_some()
    }

    fn type_(&mut self, each: &str) -> Option<Type> {
        let word = match self.word() {
            "C" | "N" => each,
            word => word,
        };
        Some(match word {
            "dyn" => Type::Dyn,
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "timestamp" => Type::Timestamp,
            "duration" => Type::Duration,
            "list" | "optional" | "type" => {
                self.accept('(').then_some(())?;
                let of = Arc::new(self.type_(each)?);
                self.accept(')').then_some(())?;
                match word {
                    "list" => Type::List(of),
                    "optional" => Type::Optional(of),
                    _ => Type::Type(Some(of)),
                }
            }
            "map" => {
                self.accept('(').then_some(())?;
                let key = self.type_(each)?;
                self.accept(',').then_some(())?;
                let value = self.type_(each)?;
                self.accept(')').then_some(())?;
                Type::map(key, value)
            }
            "A" | "K" | "T" => Type::Variable(0),
            "B" | "V" => Type::Variable(1),
            "ip" => Type::Object("net.IP"),
            "cidr" => Type::Object("net.CIDR"),
            "url" => Type::Object("kubernetes.URL"),
            "quantity" => Type::Object("kubernetes.Quantity"),
            "semver" => Type::Object("kubernetes.Semver"),
            "format" => Type::Object("kubernetes.NamedFormat"),
            "authorizer" => Type::Object("kubernetes.authorization.Authorizer"),
            "pathcheck" => Type::Object("kubernetes.authorization.PathCheck"),
            "groupcheck" => Type::Object("kubernetes.authorization.GroupCheck"),
            "resourcecheck" => Type::Object("kubernetes.authorization.ResourceCheck"),
            "decision" => Type::Object("kubernetes.authorization.Decision"),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_declaration() {
        for line in lines() {
            assert!(declaration(line).is_some(), "{line}");
        }
    }

    #[test]
    fn templates_stand_for_each_of_their_types() {
        assert_eq!(
            overloads("isSorted").expect("declared").1.len(),
            COMPARABLE.len()
        );
        assert_eq!(overloads("sum").expect("declared").1.len(), SUMMABLE.len());
    }
}
