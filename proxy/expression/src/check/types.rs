//! Static types.

use std::{fmt, sync::Arc};

#[expect(clippy::enum_variant_names, reason = "the language calls it so")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    /// Decided at run time.
    Dyn,
    /// As `Dyn`, but not to be iterated over: the type of a first-level claim.
    Any,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    List(Arc<Self>),
    Map(Arc<Self>, Arc<Self>),
    Optional(Arc<Self>),
    /// The type of a type.
    Type(Option<Arc<Self>>),
    /// A type of a library or the user.
    Object(&'static str),
    /// Not known yet.
    Variable(u32),
}

pub(crate) const USER: &str = "kubernetes.UserInfo";

/// The fields of `user`.
pub(crate) fn user_field(name: &str) -> Option<Type> {
    let strings = || Type::list(Type::String);
    match name {
        "username" | "uid" => Some(Type::String),
        "groups" => Some(strings()),
        "extra" => Some(Type::map(Type::String, strings())),
        _ => None,
    }
}

impl Type {
    pub(crate) fn list(element: Self) -> Self {
        Self::List(Arc::new(element))
    }

    pub(crate) fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new(key), Arc::new(value))
    }

    pub(crate) fn optional(value: Self) -> Self {
        Self::Optional(Arc::new(value))
    }

    pub(crate) fn is_dynamic(&self) -> bool {
        matches!(self, Self::Dyn | Self::Any)
    }

    /// The value's type and true if this is an optional.
    pub(crate) fn unwrap_optional(&self) -> (&Self, bool) {
        match self {
            Self::Optional(value) => (value, true),
            _ => (self, false),
        }
    }

    /// Names that stand for a type in an expression, such as in `type(x) == string`.
    pub(crate) fn named(name: &str) -> Option<(Self, &'static str)> {
        let dynamic = || Arc::new(Self::Dyn);
        Some(match name {
            "bool" => (Self::Bool, "bool"),
            "bytes" => (Self::Bytes, "bytes"),
            "double" => (Self::Double, "double"),
            "google.protobuf.Duration" => (Self::Duration, "google.protobuf.Duration"),
            "int" => (Self::Int, "int"),
            "list" => (Self::List(dynamic()), "list"),
            "map" => (Self::Map(dynamic(), dynamic()), "map"),
            "null_type" => (Self::Null, "null_type"),
            "string" => (Self::String, "string"),
            "google.protobuf.Timestamp" => (Self::Timestamp, "google.protobuf.Timestamp"),
            "type" => (Self::Type(None), "type"),
            "uint" => (Self::Uint, "uint"),
            "optional_type" => (Self::Optional(dynamic()), "optional_type"),
            "net.IP" => (Self::Object("net.IP"), "net.IP"),
            "net.CIDR" => (Self::Object("net.CIDR"), "net.CIDR"),
            _ => return None,
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => formatter.write_str("dyn"),
            Self::Any => formatter.write_str("any"),
            Self::Null => formatter.write_str("null"),
            Self::Bool => formatter.write_str("bool"),
            Self::Int => formatter.write_str("int"),
            Self::Uint => formatter.write_str("uint"),
            Self::Double => formatter.write_str("double"),
            Self::String => formatter.write_str("string"),
            Self::Bytes => formatter.write_str("bytes"),
            Self::Timestamp => formatter.write_str("timestamp"),
            Self::Duration => formatter.write_str("duration"),
            Self::List(element) => write!(formatter, "list({element})"),
            Self::Map(key, value) => write!(formatter, "map({key}, {value})"),
            Self::Optional(value) => write!(formatter, "optional_type({value})"),
            Self::Type(Some(of)) => write!(formatter, "type({of})"),
            Self::Type(None) => formatter.write_str("type"),
            Self::Object(name) => formatter.write_str(name),
            Self::Variable(_) => formatter.write_str("_"),
        }
    }
}
