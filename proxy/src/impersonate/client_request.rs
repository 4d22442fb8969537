//! What a client asks for with `kubectl --as`: the `Impersonate-*` headers of its request.

use http::{HeaderMap, HeaderName};

use oidcproxy_crds::{
    dns_name::{is_label, is_subdomain},
    v1alpha1::impersonation::REMOTE_CLIENT_IP,
};

use super::{AllowedBy, ImpersonationError};
use crate::identity::{
    Identity,
    headers::{self, extra_key, is_faithful},
};

/// More values than this would be more reviews than a request is worth.
const MAX_VALUES: usize = 64;

/// Under these keys the proxy itself says who asked.
pub(crate) const ORIGINAL_USER_PREFIX: &str = "originaluser.jetstack.io-";

/// The identity that a client asks to act as, before anybody was asked whether it may.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ClientRequest(Identity);

impl ClientRequest {
    /// `None` when the client does not ask to be somebody else.
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Option<Self>, ImpersonationError> {
        let mut users = Vec::new();
        let mut uids = Vec::new();
        let mut identity = Identity::default();
        let mut values = 0;
        for name in headers.keys().filter(|name| is_impersonation(name)) {
            for value in headers.get_all(name) {
                values += 1;
                if values > MAX_VALUES {
                    return Err(ImpersonationError::TooManyValues(format!(
                        "a request may carry at most {MAX_VALUES} Impersonate-* values"
                    )));
                }
                let value = std::str::from_utf8(value.as_bytes())
                    .ok()
                    .filter(|value| is_faithful(value.as_bytes()))
                    .ok_or_else(|| {
                        bad(format!(
                            "{name} has characters that cannot be part of a name"
                        ))
                    })?;
                if name == headers::USER {
                    users.push(value.to_owned());
                } else if name == headers::UID {
                    uids.push(value.to_owned());
                } else if name == headers::GROUP {
                    identity.groups.push(value.to_owned());
                } else if let Some(suffix) = name.as_str().strip_prefix(headers::EXTRA_PREFIX) {
                    add_extra(&mut identity, extra_key(suffix), value);
                } else {
                    return Err(bad(format!("the header {name} is not known")));
                }
            }
        }
        if values == 0 {
            return Ok(None);
        }
        identity.uid = at_most_one(uids, "Impersonate-Uid")?.filter(|uid| !uid.is_empty());
        identity.username = at_most_one(users, "Impersonate-User")?.unwrap_or_default();
        if identity.username.is_empty() {
            return Err(bad(
                "groups, a uid or extras were asked for without impersonating a user".to_owned(),
            ));
        }
        if identity.groups.iter().any(String::is_empty) {
            return Err(bad("Impersonate-Group is empty".to_owned()));
        }
        Ok(Some(Self(identity)))
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.0
    }

    /// Refuses extras that this proxy does not let clients set. The proxy has no right to
    /// impersonate keys that are not listed, so kube-apiserver would refuse them with a message
    /// that names the proxy and helps nobody.
    pub(crate) fn check_extra_keys(&self, allowed: &[String]) -> Result<(), ImpersonationError> {
        for (key, _) in &self.0.extra {
            if key.starts_with(ORIGINAL_USER_PREFIX) || key == REMOTE_CLIENT_IP {
                return Err(ImpersonationError::Forbidden(format!(
                    "the extra key {key:?} is set by the proxy and cannot be impersonated"
                )));
            }
            if !allowed.iter().any(|known| known == "*" || known == key) {
                return Err(ImpersonationError::Forbidden(format!(
                    "the extra key {key:?} is not listed in spec.impersonation.asExtraKeys"
                )));
            }
        }
        Ok(())
    }

    /// The identity to forward: the groups that kube-apiserver would add are added, since with
    /// any group given it adds none for a ServiceAccount.
    pub(crate) fn into_target(self, allowed_by: AllowedBy) -> Identity {
        let mut identity = self.0;
        if allowed_by == AllowedBy::ConstrainedNode {
            identity.groups = vec!["system:nodes".to_owned()];
        } else if identity.groups.is_empty()
            && let Some((namespace, _)) = service_account(&identity.username)
        {
            identity.groups = vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
            ];
        }
        identity.add_automatic_groups();
        identity
    }
}

/// The namespace and the name in `system:serviceaccount:<namespace>:<name>`.
pub(crate) fn service_account(username: &str) -> Option<(&str, &str)> {
    let (namespace, name) = username
        .strip_prefix("system:serviceaccount:")?
        .split_once(':')?;
    // Anything else is a user to kube-apiserver, whatever its name begins with.
    (is_label(namespace) && is_subdomain(name)).then_some((namespace, name))
}

/// Whether a header speaks of impersonation, known or not.
fn is_impersonation(name: &HeaderName) -> bool {
    name.as_str().starts_with("impersonate-")
}

fn add_extra(identity: &mut Identity, key: String, value: &str) {
    match identity.extra.iter_mut().find(|(known, _)| *known == key) {
        Some((_, values)) => values.push(value.to_owned()),
        None => identity.extra.push((key, vec![value.to_owned()])),
    }
}

/// Which of two would count differs between servers, so neither does.
fn at_most_one(mut values: Vec<String>, name: &str) -> Result<Option<String>, ImpersonationError> {
    if values.len() > 1 {
        return Err(bad(format!("{name} is given more than once")));
    }
    Ok(values.pop())
}

fn bad(message: String) -> ImpersonationError {
    ImpersonationError::BadRequest(message)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn parse(lines: &[(&str, &str)]) -> Result<Option<ClientRequest>, ImpersonationError> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        ClientRequest::parse(&headers)
    }

    #[test]
    fn everything_that_can_be_asked_for_is_read() {
        let asked = parse(&[
            ("Impersonate-User", "bob"),
            ("Impersonate-Group", "a, b"),
            ("Impersonate-Group", "c"),
            ("Impersonate-Uid", "77"),
            ("Impersonate-Extra-Example.com%2Fkey", "v"),
            ("Impersonate-Extra-Example.com%2Fkey", "w"),
        ]);
        let expected = Identity {
            username: "bob".into(),
            uid: Some("77".into()),
            groups: vec!["a, b".into(), "c".into()],
            extra: vec![("example.com/key".into(), vec!["v".into(), "w".into()])],
        };
        assert_eq!(asked.unwrap().unwrap().identity(), &expected);
        assert!(parse(&[("accept", "*/*")]).unwrap().is_none());
    }

    #[test]
    fn ambiguous_requests_are_refused() {
        for lines in [
            &[("Impersonate-User", "a"), ("Impersonate-User", "b")][..],
            &[
                ("Impersonate-User", "a"),
                ("Impersonate-Uid", "1"),
                ("Impersonate-Uid", "2"),
            ],
            &[("Impersonate-User", "a"), ("Impersonate-Future", "b")],
            &[("Impersonate-Group", "a")],
            &[("Impersonate-Uid", "a")],
            &[("Impersonate-Extra-a", "b")],
            &[("Impersonate-User", "")],
        ] {
            assert!(
                matches!(parse(lines), Err(ImpersonationError::BadRequest(_))),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let mut lines = vec![("Impersonate-User", "a")];
        lines.resize(MAX_VALUES, ("Impersonate-Group", "g"));
        assert!(parse(&lines).is_ok());
        lines.push(("Impersonate-Group", "g"));
        assert!(matches!(
            parse(&lines),
            Err(ImpersonationError::TooManyValues(_))
        ));
    }

    #[test]
    fn extra_keys_must_be_allowed() {
        let asked = parse(&[("Impersonate-User", "a"), ("Impersonate-Extra-scope", "b")]);
        let asked = asked.unwrap().unwrap();
        assert!(asked.check_extra_keys(&[]).is_err());
        assert!(asked.check_extra_keys(&["scope".into()]).is_ok());
        let forged = parse(&[
            ("Impersonate-User", "a"),
            ("Impersonate-Extra-OriginalUser.jetstack.io-user", "b"),
        ]);
        assert!(
            forged
                .unwrap()
                .unwrap()
                .check_extra_keys(&["*".into()])
                .is_err()
        );
    }

    #[test]
    fn a_service_account_gets_its_groups() {
        let groups = |lines: &[(&str, &str)]| {
            parse(lines)
                .unwrap()
                .unwrap()
                .into_target(AllowedBy::Legacy)
                .groups
        };
        let account = ("Impersonate-User", "system:serviceaccount:web:deployer");
        assert_eq!(
            groups(&[account]),
            [
                "system:serviceaccounts",
                "system:serviceaccounts:web",
                "system:authenticated"
            ]
        );
        assert_eq!(
            groups(&[account, ("Impersonate-Group", "g")]),
            ["g", "system:authenticated"]
        );
        assert_eq!(
            service_account("system:serviceaccount:web:a.b"),
            Some(("web", "a.b"))
        );
        // A name's labels have no bound of their own in Kubernetes; a namespace is one label.
        let long = "a".repeat(64);
        assert_eq!(
            service_account(&format!("system:serviceaccount:web:{long}")),
            Some(("web", &*long))
        );
        assert_eq!(
            service_account(&format!("system:serviceaccount:{long}:deployer")),
            None
        );
        for odd in ["web:", "-a:b", "a:b..c", "a:b-", "a:.b", "a:b:c", "A:b"] {
            assert_eq!(
                service_account(&format!("system:serviceaccount:{odd}")),
                None,
                "{odd}"
            );
        }
        assert_eq!(service_account("system:serviceaccount:We_b:x"), None);
    }
}
