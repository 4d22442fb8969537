//! Resources by their names in metrics: those of Kubernetes itself. Anybody can ask for any other.

/// In order.
const KNOWN: [&str; 67] = [
    "apiservices",
    "bindings",
    "certificatesigningrequests",
    "clusterrolebindings",
    "clusterroles",
    "clustertrustbundles",
    "componentstatuses",
    "configmaps",
    "controllerrevisions",
    "cronjobs",
    "csidrivers",
    "csinodes",
    "csistoragecapacities",
    "customresourcedefinitions",
    "daemonsets",
    "deployments",
    "deviceclasses",
    "endpoints",
    "endpointslices",
    "events",
    "flowschemas",
    "horizontalpodautoscalers",
    "ingressclasses",
    "ingresses",
    "ipaddresses",
    "jobs",
    "leases",
    "limitranges",
    "localsubjectaccessreviews",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "mutatingwebhookconfigurations",
    "namespaces",
    "networkpolicies",
    "nodes",
    "persistentvolumeclaims",
    "persistentvolumes",
    "poddisruptionbudgets",
    "pods",
    "podtemplates",
    "priorityclasses",
    "prioritylevelconfigurations",
    "replicasets",
    "replicationcontrollers",
    "resourceclaims",
    "resourceclaimtemplates",
    "resourcequotas",
    "resourceslices",
    "rolebindings",
    "roles",
    "runtimeclasses",
    "secrets",
    "selfsubjectaccessreviews",
    "selfsubjectreviews",
    "selfsubjectrulesreviews",
    "serviceaccounts",
    "servicecidrs",
    "services",
    "statefulsets",
    "storageclasses",
    "subjectaccessreviews",
    "tokenreviews",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
    "volumeattachments",
    "volumeattributesclasses",
];

/// The name, or `other`.
pub(super) fn known_resource(group: &str, resource: &str) -> &'static str {
    let is_own = !group.contains('.') || group.ends_with(".k8s.io");
    let known = KNOWN.binary_search(&resource).ok();
    let known = known.filter(|_| is_own).and_then(|at| KNOWN.get(at));
    known.copied().unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_told_apart_from_nothing() {
        assert!(KNOWN.is_sorted());
        for known in KNOWN {
            assert_eq!(known_resource("", known), known);
        }
        assert_eq!(known_resource("apps", "deployments"), "deployments");
        assert_eq!(known_resource("storage.k8s.io", "csinodes"), "csinodes");
        assert_eq!(known_resource("example.org", "pods"), "other");
        assert_eq!(known_resource("", "a-random-path"), "other");
    }
}
