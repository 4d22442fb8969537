//! What a proxy may do, as its settings ask for it and as a role holds it.

use std::collections::BTreeSet;

use k8s_openapi::api::{authorization::v1::ResourceAttributes, rbac::v1::ClusterRole};
use oidcproxy_crds::v1alpha1::{
    impersonation::{ClientIpExtra, ClientRequests, REMOTE_CLIENT_IP},
    settings::Settings,
};

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";
const IMPERSONATE: &str = "impersonate";
const CREATE: &str = "create";
const TOKEN_REVIEWS: &str = "tokenreviews";
const ACCESS_REVIEWS: &str = "subjectaccessreviews";

/// Any token with a `jti` leads to this extra.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// What `kubectl --as` leaves of the original user.
const ORIGINAL_USER: [&str; 4] = [
    "originaluser.jetstack.io-user",
    "originaluser.jetstack.io-groups",
    "originaluser.jetstack.io-uid",
    "originaluser.jetstack.io-extra",
];

/// What every user is in.
const AUTHENTICATED: &str = "system:authenticated";

/// What requests without a credential are in.
const UNAUTHENTICATED: &str = "system:unauthenticated";

/// How `ServiceAccounts` are called as users.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// One verb on one resource.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Grant {
    pub(super) group: &'static str,
    pub(super) resource: String,
    pub(super) verb: &'static str,
    /// Empty for all.
    pub(super) names: BTreeSet<String>,
}

/// What a proxy with these settings needs.
pub fn grants(settings: &Settings) -> BTreeSet<Grant> {
    let mut all = identities(settings);
    all.insert(impersonate(AUTHENTICATION, "uids"));
    if settings.impersonation.client_requests == ClientRequests::Review {
        all.insert(create(AUTHORIZATION, ACCESS_REVIEWS));
    }
    if settings.authentication.token_passthrough.is_some() {
        all.insert(create(AUTHENTICATION, TOKEN_REVIEWS));
    }
    let keys = extra_keys(settings);
    if keys.contains("*") {
        // There is no wildcard for subresources.
        all.retain(|grant| grant.group != AUTHENTICATION || grant.verb != IMPERSONATE);
        all.insert(impersonate(AUTHENTICATION, "*"));
    } else {
        let extra = |key| impersonate(AUTHENTICATION, &format!("userextras/{key}"));
        all.extend(keys.into_iter().map(extra));
    }
    all
}

impl Grant {
    /// As the API server can be asked about it. One name stands for all of them: RBAC knows a rule's
    /// names only together, and `restrictTo` may have hundreds.
    pub fn attributes(&self) -> ResourceAttributes {
        let (resource, subresource) = match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource)),
            None => (self.resource.as_str(), None),
        };
        ResourceAttributes {
            group: Some(self.group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: subresource.map(str::to_owned),
            verb: Some(self.verb.to_owned()),
            name: self.names.first().cloned(),
            ..ResourceAttributes::default()
        }
    }

    /// What stands in a role, if a proxy can need it.
    fn of(group: &str, resource: &str, verb: &str, names: &BTreeSet<String>) -> Option<Self> {
        let identities = ["users", "groups", "serviceaccounts"];
        let names = names.clone();
        match (group, verb) {
            ("", IMPERSONATE) if identities.contains(&resource) => Some(Self {
                names,
                ..impersonate("", resource)
            }),
            (AUTHENTICATION, IMPERSONATE)
                if resource == "uids" || resource == "*" || resource.starts_with("userextras/") =>
            {
                Some(Self {
                    names,
                    ..impersonate(AUTHENTICATION, resource)
                })
            }
            (AUTHENTICATION, CREATE) if resource == TOKEN_REVIEWS => {
                Some(create(AUTHENTICATION, TOKEN_REVIEWS))
            }
            (AUTHORIZATION, CREATE) if resource == ACCESS_REVIEWS => {
                Some(create(AUTHORIZATION, ACCESS_REVIEWS))
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for Grant {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (verb, resource) = (self.verb, &self.resource);
        write!(formatter, "{verb} {resource}")
    }
}

/// What a role grants of all that proxies can need. Whatever else somebody has put into it does not
/// count.
pub fn granted(role: &ClusterRole) -> BTreeSet<Grant> {
    let mut found = BTreeSet::new();
    for rule in role.rules.iter().flatten() {
        let names: BTreeSet<String> = rule.resource_names.iter().flatten().cloned().collect();
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                let all = rule.verbs.iter();
                found.extend(all.filter_map(|verb| Grant::of(group, resource, verb, &names)));
            }
        }
    }
    found
}

/// The users and groups; all of them, unless the settings name the only ones.
fn identities(settings: &Settings) -> BTreeSet<Grant> {
    let reviews = settings.impersonation.client_requests == ClientRequests::Review;
    let restriction = &settings.impersonation.restrict_to;
    let mut all = BTreeSet::new();
    let mut add = |resource: &str, names: BTreeSet<String>| {
        all.insert(Grant {
            names,
            ..impersonate("", resource)
        });
    };
    match &restriction.users {
        None => {
            add("users", BTreeSet::new());
            if reviews {
                add("serviceaccounts", BTreeSet::new());
            }
        }
        Some(users) => {
            let account = |name: &&String| name.starts_with(SERVICE_ACCOUNT);
            let (accounts, users): (Vec<_>, Vec<_>) = users.names.iter().partition(account);
            let accounts: BTreeSet<String> = accounts
                .into_iter()
                .filter_map(|name| name.rsplit_once(':'))
                .map(|(_, name)| name.to_owned())
                .collect();
            if !users.is_empty() {
                add("users", users.into_iter().cloned().collect());
            }
            if reviews && !accounts.is_empty() {
                add("serviceaccounts", accounts);
            }
        }
    }
    match &restriction.groups {
        None => add("groups", BTreeSet::new()),
        Some(groups) => {
            let anonymous = settings.authentication.anonymous.as_ref();
            let automatic = anonymous
                .filter(|anonymous| anonymous.enabled)
                .map(|_| UNAUTHENTICATED);
            let automatic = automatic.into_iter().chain([AUTHENTICATED]);
            let listed = groups.names.iter().cloned();
            add(
                "groups",
                listed.chain(automatic.map(str::to_owned)).collect(),
            );
        }
    }
    all
}

/// The keys of every extra that a request can carry.
fn extra_keys(settings: &Settings) -> BTreeSet<&str> {
    let impersonation = &settings.impersonation;
    let mut keys = BTreeSet::from([CREDENTIAL_ID]);
    if impersonation.client_ip_extra == ClientIpExtra::Enabled {
        keys.insert(REMOTE_CLIENT_IP);
    }
    keys.extend(impersonation.extra.iter().map(|fixed| fixed.key.as_str()));
    let mapped = settings
        .authentication
        .issuers
        .iter()
        .flat_map(|issuer| &issuer.claim_mappings.extra);
    keys.extend(mapped.map(|mapping| mapping.key.as_str()));
    if impersonation.client_requests == ClientRequests::Review {
        keys.extend(ORIGINAL_USER);
        keys.extend(impersonation.as_extra_keys.iter().map(String::as_str));
    }
    keys
}

fn impersonate(group: &'static str, resource: &str) -> Grant {
    Grant {
        group,
        resource: resource.to_owned(),
        verb: IMPERSONATE,
        names: BTreeSet::new(),
    }
}

fn create(group: &'static str, resource: &str) -> Grant {
    Grant {
        group,
        resource: resource.to_owned(),
        verb: CREATE,
        names: BTreeSet::new(),
    }
}
