//! The request that constrained impersonation is asked about.

use http::Request;
use url::form_urlencoded;

use crate::request::Attributes;

/// A request as kube-apiserver would authorize it.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestUnderReview {
    pub(super) attributes: Attributes,
    pub(super) field_selector: Option<String>,
    pub(super) label_selector: Option<String>,
}

impl RequestUnderReview {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let uri = request.uri();
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let attributes = Attributes::of(request.method(), target);
        let is_selected = matches!(
            attributes.verb.as_str(),
            "list" | "watch" | "deletecollection"
        );
        let query = uri.query().filter(|_| is_selected).unwrap_or_default();
        let first = |name: &str| {
            let mut parameters = form_urlencoded::parse(query.as_bytes());
            let found = parameters.find(|(key, _)| key == name);
            found
                .map(|(_, value)| value.into_owned())
                .filter(|value| !value.is_empty())
        };
        Self {
            field_selector: first("fieldSelector"),
            label_selector: first("labelSelector"),
            attributes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_count_where_they_select() {
        let review = |method: &str, target: &str| {
            let request = Request::builder().method(method).uri(target).body(());
            let review = RequestUnderReview::of(&request.unwrap());
            (review.field_selector, review.label_selector)
        };
        let query = "fieldSelector=spec.nodeName%3Dn1&labelSelector=a%3Db&labelSelector=c";
        let both = (Some("spec.nodeName=n1".into()), Some("a=b".into()));
        assert_eq!(review("GET", &format!("/api/v1/pods?{query}")), both);
        assert_eq!(review("DELETE", &format!("/api/v1/pods?{query}")), both);
        let one = format!("/api/v1/namespaces/web/pods/a?{query}");
        assert_eq!(review("GET", &one), (None, None));
    }
}
