//! Lengths of time. The schema knows their syntax; an older CRD may have let anything through.

use std::{ops::RangeInclusive, time};

use oidcproxy_crds::v1alpha1::duration::Duration;

use super::Findings;

/// Whether it is one within these bounds, or absent; else it is a finding.
pub(super) fn is_duration(
    value: Option<&Duration>,
    path: &str,
    (bounds, in_words): (RangeInclusive<time::Duration>, &str),
    findings: &mut Findings,
) -> bool {
    let Some(value) = value else {
        return true;
    };
    match value.parsed() {
        Ok(parsed) if bounds.contains(&parsed) => return true,
        Ok(_) => findings.invalid(path, format_args!("must be {in_words}")),
        Err(error) => findings.invalid(path, error),
    }
    false
}
