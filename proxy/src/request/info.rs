//! What a request is about, as kube-apiserver's RequestInfo sees it: the verb for metrics, whether
//! it may run for long, and the attributes that audit rules match.

use http::{Method, Request};
use percent_encoding::percent_decode_str;

use super::{
    known_resource::known_resource, list_options::ListOptions, resource_path::ResourcePath,
};

/// What a request is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RequestInfo {
    /// One of kube-apiserver's verbs, or a lower-case method for paths that are no resources; of a
    /// closed set.
    pub(crate) verb: &'static str,
    /// For metrics; of a closed set.
    pub(crate) resource: &'static str,
    /// Set when it may take as long as it likes.
    pub(crate) long_running: Option<LongRunning>,
}

/// What takes as long as it likes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LongRunning {
    Watch,
    Log,
    /// The answer may be of somebody behind kube-apiserver.
    Proxy,
    /// `exec` and its kin, which hardly ever stay HTTP, and profiles.
    Other,
}

impl LongRunning {
    /// For metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Log => "log",
            Self::Proxy => "proxy",
            Self::Other => "other",
        }
    }
}

/// What an authorizer would be asked about, and audit rules match.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Attributes {
    /// Decoded.
    pub(crate) path: String,
    /// Empty for methods that mean nothing for a resource.
    pub(crate) verb: String,
    pub(crate) resource: Option<ObjectReference>,
    pub(crate) is_long_running: bool,
}

/// The object that a request is about; empty where the path says nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct ObjectReference {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) name: String,
}

impl RequestInfo {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        // kube-apiserver decodes both before it looks at them.
        let path = percent_decode_str(request.uri().path()).decode_utf8_lossy();
        let query = request.uri().query().unwrap_or_default();
        let method = request.method();
        let Some(resource) = ResourcePath::parse(&path) else {
            return Self {
                verb: method_verb(method),
                resource: "none",
                // Aggregated APIs have no more than their resources.
                long_running: is_profile(&path).then_some(LongRunning::Other),
            };
        };
        let is_watch = || ListOptions::watches(query);
        let verb = resource_verb(method, &resource, is_watch);
        Self {
            verb: verb.unwrap_or_else(|| method_verb(method)),
            resource: known_resource(resource.group, resource.resource),
            long_running: long_running(verb, &resource),
        }
    }
}

impl Attributes {
    /// Of a request's method and target.
    pub(crate) fn of(method: &Method, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
        let Some(parsed) = ResourcePath::parse(&path) else {
            return Self {
                verb: method.as_str().to_lowercase(),
                resource: None,
                is_long_running: is_profile(&path),
                path,
            };
        };
        let is_collection = parsed.name.is_empty() && parsed.special.is_none();
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        let options = if is_collection && is_read {
            ListOptions::parse(query)
        } else {
            ListOptions::default()
        };
        let verb = resource_verb(method, &parsed, || options.watch);
        let name = options.name.unwrap_or_else(|| parsed.name.to_owned());
        let resource = ObjectReference {
            group: parsed.group.to_owned(),
            version: parsed.version.to_owned(),
            namespace: parsed.namespace.to_owned(),
            resource: parsed.resource.to_owned(),
            subresource: parsed.subresource.to_owned(),
            name,
        };
        Self {
            verb: verb.unwrap_or_default().to_owned(),
            is_long_running: long_running(verb, &parsed).is_some(),
            resource: Some(resource),
            path,
        }
    }
}

/// `None` for methods that mean nothing for a resource.
fn resource_verb(
    method: &Method,
    path: &ResourcePath<'_>,
    is_watch: impl Fn() -> bool,
) -> Option<&'static str> {
    if path.special.is_some() {
        return path.special;
    }
    let is_collection = path.name.is_empty();
    Some(match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if is_collection => "deletecollection",
        Method::DELETE => "delete",
        Method::GET | Method::HEAD if !is_collection => "get",
        Method::GET | Method::HEAD if is_watch() => "watch",
        Method::GET | Method::HEAD => "list",
        _ => return None,
    })
}

/// As kube-apiserver has it.
fn long_running(verb: Option<&str>, path: &ResourcePath<'_>) -> Option<LongRunning> {
    match (verb, path.subresource) {
        (Some("proxy"), _) | (_, "proxy") => Some(LongRunning::Proxy),
        (Some("watch"), _) => Some(LongRunning::Watch),
        (_, "log") => Some(LongRunning::Log),
        (_, "attach" | "exec" | "portforward") => Some(LongRunning::Other),
        _ => None,
    }
}

fn is_profile(path: &str) -> bool {
    path.starts_with("/debug/pprof/")
}

fn method_verb(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(method: Method, target: &str) -> (&'static str, bool) {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .body(())
            .unwrap();
        let info = RequestInfo::of(&request);
        (info.verb, info.long_running.is_some())
    }

    /// Verb, then group/version, namespace, resource/subresource and name.
    fn attributes(method: Method, target: &str) -> String {
        let attributes = Attributes::of(&method, target);
        let known = info(method, target);
        assert_eq!(attributes.is_long_running, known.1, "{target}");
        let Some(found) = attributes.resource else {
            return attributes.verb;
        };
        assert!(
            attributes.verb == known.0 || attributes.verb.is_empty(),
            "{target}"
        );
        let ObjectReference {
            group,
            version,
            namespace,
            resource,
            subresource,
            name,
        } = found;
        let verb = attributes.verb;
        format!("{verb} {group}/{version} {namespace} {resource}/{subresource} {name}")
    }

    #[test]
    fn verbs_are_those_of_kube_apiserver() {
        for (method, target, verb, is_long_running) in [
            (Method::GET, "/api/v1/pods?limit=500", "list", false),
            (Method::GET, "/api/v1/pods?watch=true", "watch", true),
            (Method::GET, "/api/v1/pods?watch=false", "list", false),
            (Method::GET, "/api/v1/pods?watch=0&watch=1", "list", false),
            (Method::GET, "/api/v1/pods?watch=", "watch", true),
            (Method::GET, "/api/v1/pods?%77atch=1", "watch", true),
            (Method::GET, "/api/v1/pods?watch=%zz", "list", false),
            (Method::GET, "/api/v1/pods?watch=1;x", "list", false),
            (Method::GET, "/api/v1/pods/a?watch=1", "get", false),
            (Method::GET, "/api/v1/namespaces/web", "get", false),
            (
                Method::PUT,
                "/api/v1/namespaces/web/finalize",
                "update",
                false,
            ),
            (Method::GET, "/api/v1/namespaces/web/pods", "list", false),
            (
                Method::GET,
                "/api/v1/namespaces/web/pods/a/log",
                "get",
                true,
            ),
            (
                Method::POST,
                "/api/v1/namespaces/web/pods/a/exec",
                "create",
                true,
            ),
            (
                Method::DELETE,
                "/apis/apps/v1/deployments",
                "deletecollection",
                false,
            ),
            (
                Method::GET,
                "/api/v1/watch/namespaces/web/pods",
                "watch",
                true,
            ),
            (Method::GET, "/apis/apps/v1", "get", false),
            (Method::POST, "/version", "post", false),
            (Method::OPTIONS, "/api/v1/pods", "options", false),
            (Method::GET, "/debug/pprof/profile", "get", true),
        ] {
            assert_eq!(info(method, target), (verb, is_long_running), "{target}");
        }
    }

    #[test]
    fn attributes_are_those_of_kube_apiserver() {
        for (method, target, expected) in [
            (Method::GET, "/api/v1/pods", "list /v1  pods/ "),
            (Method::GET, "/api/v1/namespaces", "list /v1  namespaces/ "),
            (
                Method::GET,
                "/api/v1/namespaces/web",
                "get /v1 web namespaces/ web",
            ),
            (
                Method::PUT,
                "/api/v1/namespaces/web/status",
                "update /v1 web namespaces/status web",
            ),
            (
                Method::GET,
                "/api/v1/namespaces/web/pods/a",
                "get /v1 web pods/ a",
            ),
            (
                Method::GET,
                "/apis/apps/v1/namespaces/web/deployments/a/scale/more",
                "get apps/v1 web deployments/scale a",
            ),
            (
                Method::GET,
                "/api/v1/watch/namespaces/web/pods/a",
                "watch /v1 web pods/ a",
            ),
            (
                Method::GET,
                "/api/v1/proxy/namespaces/web/pods/a/b",
                "proxy /v1 web pods/ a",
            ),
            (Method::GET, "/api/v1/watch", "list /v1  / "),
            (Method::GET, "/api/v1//pods", "get /v1  / pods"),
            (Method::GET, "/api/v1/pods/", "list /v1  pods/ "),
            (Method::GET, "/api/v1/namespaces/a%2Fb", "list /v1 a b/ "),
            (Method::OPTIONS, "/api/v1/pods/a", " /v1  pods/ a"),
            (
                Method::GET,
                "/api/v1/pods?fieldSelector=metadata.name%3Da",
                "list /v1  pods/ a",
            ),
            (
                Method::GET,
                "/api/v1/pods?watch=1&fieldSelector=spec.x!%3Db,metadata.name%3D%3Da",
                "watch /v1  pods/ a",
            ),
            (
                Method::DELETE,
                "/api/v1/pods?fieldSelector=metadata.name%3Da",
                "deletecollection /v1  pods/ ",
            ),
            (Method::GET, "/api", "get"),
            (Method::GET, "/apis/apps/v1", "get"),
            (Method::from_bytes(b"PURGE").unwrap(), "/healthz", "purge"),
        ] {
            assert_eq!(attributes(method, target), expected, "{target}");
        }
    }
}
