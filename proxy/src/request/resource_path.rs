//! The paths of resources, taken apart as kube-apiserver does it: empty segments count, and
//! whatever stands below a namespace is a resource of its own.

/// `/api/v1/...` and `/apis/<group>/<version>/...` with something behind; what is not there is
/// empty.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct ResourcePath<'a> {
    pub(super) group: &'a str,
    pub(super) version: &'a str,
    pub(super) namespace: &'a str,
    pub(super) resource: &'a str,
    pub(super) name: &'a str,
    pub(super) subresource: &'a str,
    /// The verb, where the path itself says it: `watch` and `proxy`.
    pub(super) special: Option<&'static str>,
}

impl<'a> ResourcePath<'a> {
    /// `None` for paths that are of no resource.
    pub(super) fn parse(path: &'a str) -> Option<Self> {
        let mut segments = path.trim_matches('/').split('/');
        let group = match segments.next()? {
            "api" => "",
            "apis" => segments.next()?,
            _ => return None,
        };
        let version = segments.next()?;
        let mut first = segments.next()?;
        let mut parsed = Self {
            group,
            version,
            ..Self::default()
        };
        let special = match first {
            "watch" => Some("watch"),
            "proxy" => Some("proxy"),
            _ => None,
        };
        if special.is_some() {
            // kube-apiserver gives up here; the request is of some resource all the same.
            let Some(resource) = segments.next() else {
                return Some(parsed);
            };
            first = resource;
        }
        parsed.special = special;
        parsed.resource = first;
        parsed.name = segments.next().unwrap_or_default();
        let mut third = segments.next();
        if first == "namespaces" {
            parsed.namespace = parsed.name;
            if let Some(inner) = third
                && !matches!(inner, "status" | "finalize")
            {
                parsed.resource = inner;
                parsed.name = segments.next().unwrap_or_default();
                third = segments.next();
            }
        }
        if special != Some("proxy") {
            parsed.subresource = third.unwrap_or_default();
        }
        Some(parsed)
    }
}
