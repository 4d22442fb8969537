//! Networks in CIDR notation.

use std::{
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// Addresses with a common beginning, as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Debug, thiserror::Error)]
#[error(
    "must be a network in CIDR notation, as 10.0.0.0/8 or fd00::/8, without bits after its prefix"
)]
pub struct NetworkError;

impl Network {
    /// Whether an address is in it; an IPv4 address in IPv6 clothes is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.address.is_ipv4() == address.is_ipv4()
            && masked(bits(address), self.shift()) == bits(self.address)
    }

    fn shift(&self) -> u32 {
        width(self.address).saturating_sub(u32::from(self.bits))
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = text.split_once('/').ok_or(NetworkError)?;
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let is_number = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let bits: u8 = prefix
            .parse()
            .ok()
            .filter(|_| is_number)
            .ok_or(NetworkError)?;
        let is_mapped = address.to_canonical() != address;
        if u32::from(bits) > width(address) || is_mapped {
            return Err(NetworkError);
        }
        let network = Self { address, bits };
        // Whoever writes 10.0.0.1/8 means one of two things.
        if masked(self::bits(address), network.shift()) == self::bits(address) {
            Ok(network)
        } else {
            Err(NetworkError)
        }
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => Ipv6Addr::to_bits(address),
    }
}

fn masked(bits: u128, shift: u32) -> u128 {
    bits.checked_shr(shift)
        .and_then(|kept| kept.checked_shl(shift))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("192.0.2.7/32", "192.0.2.7", true),
            ("192.0.2.7/32", "192.0.2.6", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(
                parsed.contains(address.parse().unwrap()),
                expected,
                "{network} {address}"
            );
        }
    }

    #[test]
    fn what_is_no_network() {
        for wrong in [
            "",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.1/8",
            "10.0/8",
            "fd00::/129",
            "::ffff:10.0.0.0/104",
            "host/8",
            " 10.0.0.0/8",
        ] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
