//! Kubernetes quantities: `500m`, `1.5Gi`, `2e3`.

use std::cmp::Ordering;

use super::Implementation;
use crate::{
    error::Failure,
    eval::{Context, value::Value},
};

/// Nothing finer than a billionth is kept.
const FINEST: i32 = -9;

/// An exact number in billionths.
#[derive(Debug)]
pub(crate) struct Quantity {
    billionths: i128,
    /// Whether upstream can give it as an int: written without a fraction, and not too large.
    integral: bool,
}

const BILLION: i128 = 1_000_000_000;

impl Quantity {
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        self.billionths.cmp(&other.billionths)
    }

    fn to_int(&self) -> Option<i64> {
        (self.integral && self.billionths % BILLION == 0).then_some(())?;
        i64::try_from(self.billionths / BILLION).ok()
    }

    #[expect(clippy::cast_precision_loss, reason = "approximate by its name")]
    fn to_double(&self) -> f64 {
        let (whole, rest) = (self.billionths / BILLION, self.billionths % BILLION);
        whole as f64 + rest as f64 / 1e9
    }

    fn from_int(int: i64) -> Self {
        Self {
            billionths: i128::from(int) * BILLION,
            integral: true,
        }
    }

    fn combined(&self, other: &Self, subtract: bool) -> Option<Self> {
        let billionths = if subtract {
            self.billionths.checked_sub(other.billionths)
        } else {
            self.billionths.checked_add(other.billionths)
        }?;
        Some(Self {
            billionths,
            integral: self.integral && other.integral,
        })
    }
}

fn parse(text: &str) -> Option<Quantity> {
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let number = unsigned
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at_checked(number)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // No digits are zero, as upstream: `.`, `+` and even `Ki`.
    (!fraction.contains('.') && !text.is_empty()).then_some(())?;
    let (binary, decimal) = exponents(suffix)?;
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let scale = decimal - i32::try_from(fraction.len()).ok()?;
    let unscaled: Option<i128> = if digits.is_empty() {
        Some(0)
    } else {
        digits.parse().ok()
    };
    let scaled = unscaled
        .and_then(|unscaled| unscaled.checked_mul(1_i128.checked_shl(binary)?))
        .and_then(|unscaled| billionths(unscaled, scale));
    // Beyond this there is only "very large".
    let billionths = scaled.unwrap_or(i128::MAX);
    Some(Quantity {
        billionths: if negative { -billionths } else { billionths },
        integral: is_integral(digits, fraction, binary, scale),
    })
}

/// Upstream keeps small numbers as ints and only those can be taken for one. Its estimate of what is small is rough.
fn is_integral(digits: &str, fraction: &str, binary: u32, scale: i32) -> bool {
    let places = u32::try_from(digits.len()).unwrap_or(u32::MAX);
    if binary > 0 {
        fraction.is_empty() && places.saturating_add(binary * 3 / 10 + 1) <= 15
    } else {
        scale >= 0 && places <= 18
    }
}

/// Rounded up to a whole number of billionths.
fn billionths(unscaled: i128, scale: i32) -> Option<i128> {
    let shift = scale - FINEST;
    let power = |exponent: i32| 10_i128.checked_pow(exponent.unsigned_abs());
    if shift >= 0 {
        return unscaled.checked_mul(power(shift)?);
    }
    match power(shift) {
        Some(divisor) => Some(unscaled / divisor + i128::from(unscaled % divisor != 0)),
        None => Some(i128::from(unscaled != 0)),
    }
}

/// The powers of two and of ten that a suffix stands for.
fn exponents(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (0, exponent.clamp(-1_000, 1_000))
        }
    })
}

pub(super) fn find(name: &str) -> Option<Implementation> {
    Some(match name {
        "quantity" => |context, args| {
            let quantity =
                parsed(context, args)?.ok_or_else(|| Failure::new("invalid quantity"))?;
            Ok(Value::Quantity(quantity.into()))
        },
        "isQuantity" => |context, args| Ok(Value::Bool(parsed(context, args)?.is_some())),
        "sign" => |_, args| {
            with(args, |quantity| {
                Ok(Value::Int(
                    quantity.billionths.signum().try_into().unwrap_or_default(),
                ))
            })
        },
        "isInteger" => |_, args| {
            with(args, |quantity| {
                Ok(Value::Bool(quantity.to_int().is_some()))
            })
        },
        "asInteger" => |_, args| {
            with(args, |quantity| {
                quantity
                    .to_int()
                    .map(Value::Int)
                    .ok_or_else(|| Failure::new("cannot convert value to integer"))
            })
        },
        "asApproximateFloat" => {
            |_, args| with(args, |quantity| Ok(Value::Double(quantity.to_double())))
        }
        "add" => |_, args| combine(args, false),
        "sub" => |_, args| combine(args, true),
        _ => return None,
    })
}

fn parsed(context: &mut Context<'_>, args: &[Value]) -> Result<Option<Quantity>, Failure> {
    match args {
        [Value::String(text)] => {
            context.budget.scan(text)?;
            Ok(parse(text))
        }
        _ => Err(Failure::no_overload("quantity")),
    }
}

fn with(
    args: &[Value],
    of: impl Fn(&Quantity) -> Result<Value, Failure>,
) -> Result<Value, Failure> {
    match args {
        [Value::Quantity(quantity)] => of(quantity),
        _ => Err(Failure::no_overload("quantity method")),
    }
}

fn combine(args: &[Value], subtract: bool) -> Result<Value, Failure> {
    let result = match args {
        [Value::Quantity(one), Value::Quantity(other)] => one.combined(other, subtract),
        [Value::Quantity(one), Value::Int(other)] => {
            one.combined(&Quantity::from_int(*other), subtract)
        }
        _ => return Err(Failure::no_overload("quantity arithmetic")),
    };
    result
        .map(|quantity| Value::Quantity(quantity.into()))
        .ok_or_else(|| Failure::new("quantity overflow"))
}
