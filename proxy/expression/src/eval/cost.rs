//! What kube-apiserver charges for a call. Its cost model is part of which tokens it accepts.

use super::value::{List, Value};
use crate::library::patterns::PATTERN_FACTOR;

const TRAVERSAL: f64 = 0.1;
const LIST: u64 = 10;

/// What the size of a value counts as; anything without a size is 1.
pub(crate) fn size(value: &Value) -> u64 {
    let length = match value {
        Value::String(text) => text.chars().count(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list, _) => list.items.len(),
        Value::Map(map, _) => map.len(),
        Value::Ip(address) => {
            if address.is_ipv4() {
                4
            } else {
                16
            }
        }
        Value::Cidr(network) => usize::from(network.bits).div_ceil(8),
        Value::Optional(Some(inner)) => return size(inner),
        _ => 1,
    };
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// The cost of a call that returned `result`.
pub(crate) fn call(name: &str, single: bool, args: &[Value], result: &Value) -> u64 {
    let (first, second) = (args.first(), args.get(1));
    let sized = |argument: Option<&Value>| argument.map_or(1, size);
    let scanned = |factor: f64| scaled(sized(first), factor * TRAVERSAL);
    match name {
        "slice" | "lists.range" | "reverse" if single => size(result) + 1 + LIST,
        "flatten" if single => {
            let depth = match second {
                Some(Value::Int(depth)) => u64::try_from(*depth).unwrap_or_default(),
                _ => 1,
            };
            sized(first).saturating_mul(depth).saturating_add(1 + LIST)
        }
        "distinct" | "sort" if single => compared(first),
        "@sortByAssociatedKeys" if single => compared(second),
        "sets.contains" | "sets.intersects" if single => {
            1 + sized(first).saturating_mul(sized(second))
        }
        "sets.equivalent" if single => {
            1 + sized(first).saturating_mul(sized(second)).saturating_mul(2)
        }
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes" => {
            first.map_or(0, traversal)
        }
        "url" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "cidr" | "isIP" | "isCIDR"
        | "quantity" | "isQuantity" | "semver" | "isSemver" => scanned(1.0),
        "ip" => {
            if matches!(first, Some(Value::Cidr(_))) {
                1
            } else {
                scanned(1.0)
            }
        }
        "replace" | "split" | "ip.isCanonical" => scanned(2.0),
        "join" => scaled(size(result), 2.0 * TRAVERSAL),
        "find" | "findAll" => pattern(sized(first), sized(second)),
        "matches" if single && args.len() == 2 => pattern(sized(first), sized(second)),
        "validate" => match first {
            Some(Value::Format(format)) => pattern(sized(second), format.pattern_size()),
            _ => 1,
        },
        "containsIP" | "containsCIDR" => {
            let parse = if matches!(second, Some(Value::String(_))) {
                scaled(sized(second), TRAVERSAL)
            } else {
                0
            };
            let mask = if name == "containsCIDR" {
                scanned(1.0) + 1
            } else {
                0
            };
            scanned(2.0) + parse + mask
        }
        "startsWith" | "endsWith" | "bytes" | "strings.quote" | "format" if single => scanned(1.0),
        "string" if matches!(first, Some(Value::Bytes(_))) => scanned(1.0),
        "contains" if single => scanned(1.0).saturating_mul(scaled(sized(second), TRAVERSAL)),
        "@in" if single && matches!(second, Some(Value::List(..))) => sized(second),
        "_==_"
            if matches!(
                first,
                Some(
                    Value::Quantity(_)
                        | Value::Ip(_)
                        | Value::Cidr(_)
                        | Value::Format(_)
                        | Value::Url(_)
                        | Value::Semver(_)
                )
            ) =>
        {
            1
        }
        "_==_" | "_!=_" => scaled(sized(first).min(sized(second)), TRAVERSAL),
        "_<_" | "_<=_" | "_>_" | "_>=_"
            if single && matches!(first, Some(Value::String(_) | Value::Bytes(_))) =>
        {
            scaled(sized(first).min(sized(second)), TRAVERSAL)
        }
        "_+_" if single && matches!(first, Some(Value::String(_) | Value::Bytes(_))) => {
            scaled(sized(first).saturating_add(sized(second)), TRAVERSAL)
        }
        _ => 1,
    }
}

fn pattern(text: u64, pattern: u64) -> u64 {
    scaled(text.saturating_add(1), TRAVERSAL).saturating_mul(scaled(pattern, PATTERN_FACTOR))
}

/// Comparing every element with every other.
fn compared(list: Option<&Value>) -> u64 {
    let Some(Value::List(list, _)) = list else {
        return 1;
    };
    let textual = matches!(list.items.first(), Some(Value::String(_) | Value::Bytes(_)));
    let factor = if textual { 2.0 + TRAVERSAL } else { 2.0 };
    let length = u64::try_from(list.items.len()).unwrap_or(u64::MAX);
    floored(length.saturating_mul(length), factor).saturating_add(1 + LIST)
}

fn traversal(value: &Value) -> u64 {
    let items = |list: &List| {
        list.items
            .iter()
            .fold(0_u64, |sum, item| sum.saturating_add(traversal(item)))
    };
    match value {
        Value::String(text) => floored(u64::try_from(text.len()).unwrap_or(u64::MAX), TRAVERSAL),
        Value::Bytes(bytes) => floored(u64::try_from(bytes.len()).unwrap_or(u64::MAX), TRAVERSAL),
        Value::List(list, _) => items(list),
        Value::Map(map, _) => map.entries().fold(0_u64, |sum, (key, value)| {
            sum.saturating_add(traversal(&key))
                .saturating_add(traversal(value))
        }),
        _ => 1,
    }
}

fn scaled(size: u64, factor: f64) -> u64 {
    whole((double(size) * factor).ceil())
}

fn floored(size: u64, factor: f64) -> u64 {
    whole(double(size) * factor)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn double(size: u64) -> f64 {
    size as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates; sizes are never negative"
)]
fn whole(cost: f64) -> u64 {
    cost as u64
}
