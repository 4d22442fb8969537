//! The status of an object of which nothing but the conditions can be written.

use k8s_openapi::jiff::Timestamp;
use oidcproxy_crds::v1alpha1::{OidcProxyStatus, conditions as types};

use super::{Conditions, Problem};

/// The status as it was, and what is wrong.
pub fn refused(
    previous: &OidcProxyStatus,
    generation: i64,
    problem: &Problem,
    now: Timestamp,
) -> OidcProxyStatus {
    let mut conditions = Conditions::new(&previous.conditions, generation, now);
    let (reason, message) = (&problem.reason, &problem.message);
    for type_ in types::STANDING {
        if type_ == types::READY || type_ == problem.condition {
            conditions.set(type_, Some(false), reason, message);
        } else {
            conditions.keep(type_);
        }
    }
    if previous
        .conditions
        .iter()
        .any(|condition| condition.type_ == types::MAPPING_WARNING)
    {
        conditions.keep(types::MAPPING_WARNING);
    }
    conditions.set(types::STALLED, Some(true), reason, message);
    OidcProxyStatus {
        observed_generation: Some(generation),
        conditions: conditions.finish(),
        ..previous.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_else_stays() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut before = super::super::first_sight(&OidcProxyStatus::default(), 1, now);
        before.endpoint = Some("https://k8s.example.com".to_owned());
        let problem = Problem::of(types::SPEC_VALID, "Unreadable", "x".repeat(5000));
        let after = refused(&before, 2, &problem, now);
        let said = |type_: &str| {
            let mut all = after.conditions.iter();
            let found = all.find(|condition| condition.type_ == type_)?;
            Some((found.status.as_str(), found.reason.as_str()))
        };
        for type_ in [types::READY, types::SPEC_VALID] {
            assert_eq!(said(type_), Some(("False", "Unreadable")));
        }
        assert_eq!(said(types::STALLED), Some(("True", "Unreadable")));
        assert_eq!(said(types::RECONCILING), None);
        assert_eq!(said(types::RBAC_READY), Some(("Unknown", "Pending")));
        assert_eq!(after.observed_generation, Some(2));
        assert_eq!(after.endpoint, before.endpoint);
        assert_eq!(refused(&after, 2, &problem, now), after);
    }
}
