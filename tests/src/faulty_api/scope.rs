//! One namespace out of a cluster, for an operator that asks for the whole of it.

use http::{Method, Uri};
use url::form_urlencoded;

const PROXIES: &str = "/apis/oidcproxy.dev/v1alpha1/";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1/";

/// A list or watch of the cluster's `OidcProxies`, `ClusterRoles` or bindings becomes one of those that are the
/// namespace's, the latter by their label. Everything else stays as it is.
pub(super) fn narrow(method: &Method, target: &Uri, namespace: &str) -> String {
    let (path, query) = (target.path(), target.query().unwrap_or_default());
    if *method != Method::GET {
        return target.to_string();
    }
    if path.strip_prefix(PROXIES) == Some("oidcproxies") {
        return format!("{PROXIES}namespaces/{namespace}/oidcproxies?{query}");
    }
    if matches!(
        path.strip_prefix(RBAC),
        Some("clusterroles" | "clusterrolebindings")
    ) {
        return format!("{path}?{}", labelled(query, namespace));
    }
    target.to_string()
}

fn labelled(query: &str, namespace: &str) -> String {
    const SELECTOR: &str = "labelSelector";
    let mut selectors = vec![format!("oidcproxy.dev/owner-namespace={namespace}")];
    let mut narrowed = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == SELECTOR {
            selectors.push(value.into_owned());
        } else {
            narrowed.append_pair(&name, &value);
        }
    }
    narrowed.append_pair(SELECTOR, &selectors.join(","));
    narrowed.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_of_the_whole_cluster_is_narrowed() {
        let managed = "labelSelector=app.kubernetes.io%2Fmanaged-by%3Doperator";
        let owned = "labelSelector=oidcproxy.dev%2Fowner-namespace%3Dauth";
        let rows = [
            (
                format!("{PROXIES}oidcproxies?watch=true"),
                format!("{PROXIES}namespaces/auth/oidcproxies?watch=true"),
            ),
            (
                format!("{RBAC}clusterroles?limit=5&{managed}"),
                format!(
                    "{RBAC}clusterroles?limit=5&{owned}%2Capp.kubernetes.io%2Fmanaged-by%3Doperator"
                ),
            ),
            (
                format!("{RBAC}clusterrolebindings"),
                format!("{RBAC}clusterrolebindings?{owned}"),
            ),
        ];
        for (asked, expected) in rows {
            let asked = asked.parse().unwrap();
            assert_eq!(narrow(&Method::GET, &asked, "auth"), expected);
            assert_eq!(narrow(&Method::DELETE, &asked, "auth"), asked.to_string());
        }
        for same in [
            format!("{RBAC}clusterroles/oidcproxy:other:corp"),
            format!("{PROXIES}namespaces/other/oidcproxies?watch=true"),
            "/api/v1/namespaces/other/secrets?watch=true".to_owned(),
        ] {
            let asked = same.parse().unwrap();
            assert_eq!(narrow(&Method::GET, &asked, "auth"), same);
        }
    }
}
