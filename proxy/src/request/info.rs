//! What a request is about, as kube-apiserver's RequestInfo sees it: the verb for metrics, and
//! whether it may run for long.

use http::{Method, Request};
use percent_encoding::percent_decode_str;
use url::form_urlencoded;

/// What a request is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RequestInfo {
    /// One of kube-apiserver's verbs, or a lower-case method for paths that are no resources.
    pub(crate) verb: &'static str,
    /// Whether it may take as long as it likes: watches, logs, streams, proxied requests.
    pub(crate) is_long_running: bool,
}

impl RequestInfo {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        // kube-apiserver decodes both before it looks at them.
        let path = percent_decode_str(request.uri().path()).decode_utf8_lossy();
        let query = request.uri().query().unwrap_or_default();
        match resource_path(&path) {
            None => Self {
                verb: method_verb(request.method()),
                is_long_running: false,
            },
            Some(resource) => Self::of_resource(request.method(), &resource, query),
        }
    }

    fn of_resource(method: &Method, resource: &ResourcePath<'_>, query: &str) -> Self {
        let by_name = resource.name.is_some();
        let verb = match *method {
            _ if resource.legacy_watch => "watch",
            _ if resource.legacy_proxy => "proxy",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if by_name => "delete",
            Method::DELETE => "deletecollection",
            Method::GET | Method::HEAD if by_name => "get",
            Method::GET | Method::HEAD if is_watch(query) => "watch",
            Method::GET | Method::HEAD => "list",
            _ => method_verb(method),
        };
        let streams = ["attach", "exec", "proxy", "log", "portforward"];
        let is_stream = resource
            .subresource
            .is_some_and(|name| streams.contains(&name));
        Self {
            verb,
            is_long_running: is_stream || verb == "watch" || verb == "proxy",
        }
    }
}

struct ResourcePath<'a> {
    name: Option<&'a str>,
    subresource: Option<&'a str>,
    legacy_watch: bool,
    legacy_proxy: bool,
}

/// `/api/v1/...` and `/apis/<group>/<version>/...` with a resource in it.
fn resource_path(path: &str) -> Option<ResourcePath<'_>> {
    let mut segments = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .peekable();
    match segments.next()? {
        "api" => {}
        "apis" => {
            segments.next()?;
        }
        _ => return None,
    }
    segments.next()?;
    let legacy_watch = segments.next_if_eq(&"watch").is_some();
    let legacy_proxy = segments.next_if_eq(&"proxy").is_some();
    let mut resource = segments.next()?;
    let mut name = segments.next();
    let mut subresource = segments.next();
    if resource == "namespaces"
        && let Some(inner) = subresource
        && !matches!(inner, "status" | "finalize")
    {
        resource = inner;
        name = segments.next();
        subresource = segments.next();
    }
    (!resource.is_empty()).then_some(ResourcePath {
        name,
        subresource,
        legacy_watch,
        legacy_proxy,
    })
}

/// Booleans are read as kube-apiserver reads them: all but `false` and `0` is true.
fn is_watch(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes())
        .any(|(key, value)| key == "watch" && !value.eq_ignore_ascii_case("false") && value != "0")
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
        (info.verb, info.is_long_running)
    }

    #[test]
    fn verbs_are_those_of_kube_apiserver() {
        assert_eq!(info(Method::GET, "/api/v1/pods?limit=500"), ("list", false));
        assert_eq!(
            info(Method::GET, "/api/v1/pods?watch=true"),
            ("watch", true)
        );
        assert_eq!(
            info(Method::GET, "/api/v1/pods?watch=false"),
            ("list", false)
        );
        assert_eq!(info(Method::GET, "/api/v1/namespaces/web"), ("get", false));
        assert_eq!(
            info(Method::PUT, "/api/v1/namespaces/web/finalize"),
            ("update", false)
        );
        assert_eq!(
            info(Method::GET, "/api/v1/namespaces/web/pods"),
            ("list", false)
        );
        assert_eq!(
            info(Method::GET, "/api/v1/namespaces/web/pods/a/log"),
            ("get", true)
        );
        assert_eq!(
            info(Method::POST, "/api/v1/namespaces/web/pods/a/exec"),
            ("create", true)
        );
        assert_eq!(
            info(Method::DELETE, "/apis/apps/v1/deployments"),
            ("deletecollection", false)
        );
        assert_eq!(
            info(Method::DELETE, "/apis/apps/v1/namespaces/web/deployments/a"),
            ("delete", false)
        );
        assert_eq!(
            info(Method::GET, "/api/v1/watch/namespaces/web/pods"),
            ("watch", true)
        );
        assert_eq!(info(Method::GET, "/apis/apps/v1"), ("get", false));
        assert_eq!(info(Method::POST, "/version"), ("post", false));
    }
}
