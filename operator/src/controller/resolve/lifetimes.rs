//! How long certificates live.

use std::time::Duration;

use oidcproxy_crds::v1alpha1::{duration, serving::SelfIssued};

use super::time;

/// How long certificates live.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lifetimes {
    /// The serving certificate.
    pub leaf: Duration,
    /// How long before its end it is renewed.
    pub renew_before: Duration,
    /// The authority.
    pub authority: Duration,
    /// How long two authorities are valid together.
    pub overlap: Duration,
}

/// The lifetimes, with the defaults of cert-manager.
pub fn lifetimes(issued: Option<&SelfIssued>) -> Lifetimes {
    let authority = issued.and_then(|issued| issued.authority.as_ref());
    let or_hours = |value: Option<&duration::Duration>, hours| {
        time(value).unwrap_or_else(|| Duration::from_hours(hours))
    };
    Lifetimes {
        leaf: or_hours(issued.and_then(|issued| issued.duration.as_ref()), 2160),
        renew_before: or_hours(issued.and_then(|issued| issued.renew_before.as_ref()), 720),
        authority: or_hours(authority.and_then(|root| root.duration.as_ref()), 87_600),
        overlap: or_hours(authority.and_then(|root| root.overlap.as_ref()), 8760),
    }
}
