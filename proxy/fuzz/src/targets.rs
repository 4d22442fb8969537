//! One file a target.

pub(crate) mod configuration;
pub(crate) mod expression;
pub(crate) mod impersonation;
pub(crate) mod request;
pub(crate) mod token;

use oidc_proxy::internals::HeaderLine;

/// Headers that become somebody else's on the way to kube-apiserver are the worst that can happen.
fn check_identity(lines: &[HeaderLine]) {
    let users = lines.iter().filter(|(name, _)| name == "impersonate-user");
    assert_eq!(users.count(), 1, "exactly one user");
    let groups = lines.iter().filter(|(name, _)| name == "impersonate-group");
    assert!(groups.count() > 0, "at least one group");
    for (name, value) in lines {
        let known = ["impersonate-user", "impersonate-uid", "impersonate-group"];
        assert!(
            known.contains(&name.as_str()) || name.starts_with("impersonate-extra-"),
            "{name} is not known"
        );
        let edges = [value.first(), value.last()];
        assert!(
            !edges
                .iter()
                .any(|edge| matches!(edge, None | Some(b' ' | b'\t'))),
            "{name}: {value:?} is empty or would be trimmed"
        );
        let broken = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
        assert!(
            !value.iter().any(broken),
            "{name}: {value:?} would end the value"
        );
    }
}
