//! Values at run time. Cloning one is cheap: everything large is shared.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use crate::{
    check::types::Type,
    library::{
        addresses::Network, formats::Format, quantities::Quantity, times::Timestamp,
        versions::Version,
    },
    url::Url,
};

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
    /// Nanoseconds.
    Duration(i64),
    Timestamp(Timestamp),
    List(Arc<List>, Origin),
    Map(Arc<Map>, Origin),
    Optional(Option<Arc<Self>>),
    Type(Arc<str>),
    Ip(IpAddr),
    Cidr(Network),
    Url(Arc<Url>),
    Quantity(Arc<Quantity>),
    Semver(Arc<Version>),
    Format(Format),
    /// The variable `claims` or `user` itself, which is no ordinary map, by the name of its type.
    Root(&'static str),
}

/// Where a list or map comes from. In data of a token, keys are looked up by their escaped names too, on every level that
/// was reached by a lookup; iterating gives plain values. kube-apiserver does it that way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Expression,
    Token,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct List {
    pub(crate) items: Vec<Value>,
    /// A list as `split` makes it. kube-apiserver refuses such a list as the result of a mapping, though not lists that
    /// are made from it.
    pub(crate) native: bool,
}

/// An int and a uint of the same value are the same key, and a whole double finds them. Literals can have keys of other
/// types too, which only a lookup with the same value finds.
#[derive(Debug, Default, Clone)]
pub(crate) struct Map {
    pub(crate) strings: BTreeMap<Arc<str>, Value>,
    pub(crate) numbers: BTreeMap<i128, (Value, Value)>,
    pub(crate) bools: BTreeMap<bool, Value>,
    pub(crate) others: Vec<(Value, Value)>,
}

impl Map {
    pub(crate) fn len(&self) -> usize {
        self.strings.len() + self.numbers.len() + self.bools.len() + self.others.len()
    }

    pub(crate) fn get(&self, key: &Value) -> Option<&Value> {
        match key {
            Value::String(key) => self.strings.get(key),
            Value::Bool(key) => self.bools.get(key),
            _ => match whole(key).and_then(|number| self.numbers.get(&number)) {
                Some((_, value)) => Some(value),
                None => self
                    .others
                    .iter()
                    .find(|(other, _)| same_double(other, key))
                    .map(|(_, value)| value),
            },
        }
    }

    /// False if there is such a key already; then nothing changes.
    pub(crate) fn insert(&mut self, key: Value, value: Value) -> bool {
        let new = self.get(&key).is_none();
        if new {
            self.replace(key, value);
        }
        new
    }

    pub(crate) fn replace(&mut self, key: Value, value: Value) {
        match key {
            Value::String(key) => {
                self.strings.insert(key, value);
            }
            Value::Bool(key) => {
                self.bools.insert(key, value);
            }
            Value::Int(number) => {
                self.numbers.insert(i128::from(number), (key, value));
            }
            Value::Uint(number) => {
                self.numbers.insert(i128::from(number), (key, value));
            }
            _ => self.others.push((key, value)),
        }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (Value, &Value)> {
        let bools = self
            .bools
            .iter()
            .map(|(key, value)| (Value::Bool(*key), value));
        let numbers = self
            .numbers
            .values()
            .map(|(key, value)| (key.clone(), value));
        let strings = self
            .strings
            .iter()
            .map(|(key, value)| (Value::String(Arc::clone(key)), value));
        let others = self.others.iter().map(|(key, value)| (key.clone(), value));
        bools.chain(numbers).chain(strings).chain(others)
    }
}

fn same_double(one: &Value, other: &Value) -> bool {
    matches!((one, other), (Value::Double(one), Value::Double(other)) if one.to_bits() == other.to_bits())
}

/// The whole number that a key or an index stands for; doubles count if they are whole.
pub(crate) fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Int(int) => Some(i128::from(*int)),
        Value::Uint(uint) => Some(i128::from(*uint)),
        // Within this range every whole double is exact.
        Value::Double(double) if double.fract() == 0.0 && double.abs() < 9.3e18 => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a whole number within the range of the target"
            )]
            let whole = *double as i128;
            Some(whole)
        }
        _ => None,
    }
}

impl Value {
    pub(crate) fn string(text: impl Into<Arc<str>>) -> Self {
        Self::String(text.into())
    }

    pub(crate) fn list(items: Vec<Self>) -> Self {
        Self::List(
            Arc::new(List {
                items,
                native: false,
            }),
            Origin::Expression,
        )
    }

    /// A list as Go's libraries make it; see [`List::native`].
    pub(crate) fn native_list(items: Vec<Self>) -> Self {
        Self::List(
            Arc::new(List {
                items,
                native: true,
            }),
            Origin::Expression,
        )
    }

    pub(crate) fn map(map: Map) -> Self {
        Self::Map(Arc::new(map), Origin::Expression)
    }

    pub(crate) fn some(value: Self) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    pub(crate) const NONE: Self = Self::Optional(None);

    /// Marks what was looked up in a token's data as such.
    pub(crate) fn found_in(self, origin: Origin) -> Self {
        match (self, origin) {
            (Self::List(list, _), Origin::Token) => Self::List(list, origin),
            (Self::Map(map, _), Origin::Token) => Self::Map(map, origin),
            (other, _) => other,
        }
    }

    pub(crate) fn int(number: usize) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::List(..) => "list",
            Self::Map(..) => "map",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Url(_) => "kubernetes.URL",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Root(name) => name,
        }
    }

    /// Whether an overload with this parameter takes the value. As upstream, the first element stands for all of them.
    pub(crate) fn is_of(&self, wanted: &Type) -> bool {
        match (wanted, self) {
            (Type::List(element), Self::List(list, _)) => {
                list.items.first().is_none_or(|item| item.is_of(element))
            }
            (Type::Map(key, value), Self::Map(map, _)) => map
                .entries()
                .next()
                .is_none_or(|(one, other)| one.is_of(key) && other.is_of(value)),
            (Type::Dyn | Type::Any | Type::Variable(_), _)
            | (Type::Bool, Self::Bool(_))
            | (Type::Int, Self::Int(_))
            | (Type::Uint, Self::Uint(_))
            | (Type::Double, Self::Double(_))
            | (Type::String, Self::String(_))
            | (Type::Bytes, Self::Bytes(_))
            | (Type::Timestamp, Self::Timestamp(_))
            | (Type::Duration, Self::Duration(_))
            | (Type::Null, Self::Null)
            | (Type::Type(_), Self::Type(_))
            | (Type::Optional(_), Self::Optional(_)) => true,
            (Type::Object(name), other) => *name == other.type_name(),
            _ => false,
        }
    }

    /// Whether there can be something at this index or key.
    pub(crate) fn is_qualifier(&self) -> bool {
        matches!(
            self,
            Self::Bool(_) | Self::Int(_) | Self::Uint(_) | Self::Double(_) | Self::String(_)
        )
    }

    /// What `optional.ofNonZeroValue` regards as nothing. Optionals are something to it, and so are lists and maps of a
    /// token, however empty.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(value) | Self::Duration(value) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::String(value) => value.is_empty(),
            Self::Bytes(value) => value.is_empty(),
            Self::Timestamp(time) => time.is_zero(),
            Self::List(list, Origin::Expression) => list.items.is_empty(),
            Self::Map(map, Origin::Expression) => map.len() == 0,
            _ => false,
        }
    }
}
