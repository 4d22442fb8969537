//! IP addresses and networks.

use std::{fmt, net::IpAddr};

use super::Implementation;
use crate::{
    error::Failure,
    eval::{Context, value::Value},
};

/// A network as it was written: bits beyond the prefix are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    pub(crate) bits: u8,
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.bits)
    }
}

/// No zones and no IPv4 addresses in IPv6 clothes.
fn parse_address(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    match address {
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => None,
        _ => Some(address),
    }
}

fn parse_network(text: &str) -> Option<Network> {
    let (address, bits) = text.rsplit_once('/')?;
    let address = parse_address(address)?;
    let plain =
        bits.bytes().all(|byte| byte.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
    let bits: u8 = bits.parse().ok().filter(|_| plain)?;
    (bits <= width(address)).then_some(Network { address, bits })
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address as a number, without the bits beyond the prefix.
fn prefix(address: IpAddr, bits: u8) -> u128 {
    let (number, unused) = match address {
        IpAddr::V4(address) => (
            u128::from(address.to_bits()),
            32_u32.saturating_sub(u32::from(bits)),
        ),
        IpAddr::V6(address) => (address.to_bits(), 128_u32.saturating_sub(u32::from(bits))),
    };
    number
        .checked_shr(unused)
        .unwrap_or_default()
        .checked_shl(unused)
        .unwrap_or_default()
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && prefix(self.address, self.bits) == prefix(address, self.bits)
    }

    fn contains_network(self, other: Self) -> bool {
        self.bits <= other.bits && self.contains(other.address)
    }

    fn masked(self) -> Self {
        let number = prefix(self.address, self.bits);
        let address = match self.address {
            IpAddr::V4(_) => IpAddr::V4(u32::try_from(number).unwrap_or_default().into()),
            IpAddr::V6(_) => IpAddr::V6(number.into()),
        };
        Self {
            address,
            bits: self.bits,
        }
    }
}

pub(super) fn find(name: &str) -> Option<Implementation> {
    Some(match name {
        "ip" => |context, args| match args {
            [Value::Cidr(network)] => Ok(Value::Ip(network.address)),
            _ => text(context, args, |text| {
                parse_address(text)
                    .map(Value::Ip)
                    .ok_or_else(|| Failure::new("invalid IP address"))
            }),
        },
        "isIP" => |context, args| {
            text(context, args, |text| {
                Ok(Value::Bool(parse_address(text).is_some()))
            })
        },
        "ip.isCanonical" => |context, args| {
            text(context, args, |text| {
                let address =
                    parse_address(text).ok_or_else(|| Failure::new("invalid IP address"))?;
                Ok(Value::Bool(address.to_string() == text))
            })
        },
        "family" => |_, args| {
            address(args, |address| {
                Value::Int(if address.is_ipv4() { 4 } else { 6 })
            })
        },
        "isUnspecified" => |_, args| address(args, |address| Value::Bool(address.is_unspecified())),
        "isLoopback" => |_, args| address(args, |address| Value::Bool(address.is_loopback())),
        "isLinkLocalMulticast" => {
            |_, args| address(args, |address| Value::Bool(link_local_multicast(address)))
        }
        "isLinkLocalUnicast" => |_, args| address(args, |address| Value::Bool(link_local(address))),
        "isGlobalUnicast" => {
            |_, args| address(args, |address| Value::Bool(global_unicast(address)))
        }
        "cidr" => |context, args| {
            text(context, args, |text| {
                parse_network(text)
                    .map(Value::Cidr)
                    .ok_or_else(|| Failure::new("invalid network address"))
            })
        },
        "isCIDR" => |context, args| {
            text(context, args, |text| {
                Ok(Value::Bool(parse_network(text).is_some()))
            })
        },
        "containsIP" => |context, args| match args {
            [Value::Cidr(network), Value::Ip(address)] => {
                Ok(Value::Bool(network.contains(*address)))
            }
            [Value::Cidr(network), other] => text(context, std::slice::from_ref(other), |text| {
                let address =
                    parse_address(text).ok_or_else(|| Failure::new("invalid IP address"))?;
                Ok(Value::Bool(network.contains(address)))
            }),
            _ => Err(Failure::no_overload("containsIP")),
        },
        "containsCIDR" => |context, args| match args {
            [Value::Cidr(network), Value::Cidr(other)] => {
                Ok(Value::Bool(network.contains_network(*other)))
            }
            [Value::Cidr(network), other] => text(context, std::slice::from_ref(other), |text| {
                let other =
                    parse_network(text).ok_or_else(|| Failure::new("invalid network address"))?;
                Ok(Value::Bool(network.contains_network(other)))
            }),
            _ => Err(Failure::no_overload("containsCIDR")),
        },
        "prefixLength" => |_, args| network(args, |network| Value::Int(i64::from(network.bits))),
        "masked" => |_, args| network(args, |network| Value::Cidr(network.masked())),
        _ => return None,
    })
}

fn text(
    context: &mut Context<'_>,
    args: &[Value],
    parse: impl Fn(&str) -> Result<Value, Failure>,
) -> Result<Value, Failure> {
    match args {
        [Value::String(text)] => {
            context.budget.scan(text)?;
            parse(text)
        }
        _ => Err(Failure::no_overload("address function")),
    }
}

fn address(args: &[Value], of: impl Fn(IpAddr) -> Value) -> Result<Value, Failure> {
    match args {
        [Value::Ip(address)] => Ok(of(*address)),
        _ => Err(Failure::no_overload("address method")),
    }
}

fn network(args: &[Value], of: impl Fn(Network) -> Value) -> Result<Value, Failure> {
    match args {
        [Value::Cidr(network)] => Ok(of(*network)),
        _ => Err(Failure::no_overload("network method")),
    }
}

fn link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => matches!(address.octets(), [224, 0, 0, _]),
        IpAddr::V6(address) => matches!(address.octets(), [0xff, scope, ..] if scope & 0xf == 2),
    }
}

/// Every other unicast address; private ones are global in this sense.
fn global_unicast(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(broadcast
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || link_local(address))
}
