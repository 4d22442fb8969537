//! The condition types of an `OidcProxy`, by the rules of kstatus: `Reconciling`, `Stalled` and
//! `MappingWarning` are there only while true, `PodMonitorReady` only while one is asked for, all others
//! from first sight.

/// Every pod serves the current settings with the current certificate, and the Service answers.
pub const READY: &str = "Ready";
/// Some pod answers with some good settings; the one to alert on.
pub const SERVING: &str = "Serving";
/// The spec is valid and all that it refers to is there.
pub const SPEC_VALID: &str = "SpecValid";
/// The serving certificate is issued and in its Secret.
pub const CERTIFICATE_READY: &str = "ServingCertificateReady";
/// The grants of the proxy are in place.
pub const RBAC_READY: &str = "RBACReady";
/// The Deployment is available.
pub const DEPLOYMENT_AVAILABLE: &str = "DeploymentAvailable";
/// The NetworkPolicy is applied; whether the cluster enforces it is not known here.
pub const NETWORK_POLICY_APPLIED: &str = "NetworkPolicyApplied";
/// The proxies can reach every issuer.
pub const ISSUERS_REACHABLE: &str = "IssuersReachable";
/// There is an address to reach the proxy at.
pub const ENDPOINT_READY: &str = "EndpointReady";
/// The PodMonitor that was asked for is there.
pub const POD_MONITOR_READY: &str = "PodMonitorReady";
/// The operator is at work.
pub const RECONCILING: &str = "Reconciling";
/// Users or groups of different issuers, or of the cluster, can have the same names.
pub const MAPPING_WARNING: &str = "MappingWarning";
/// Nothing more will happen until somebody changes something.
pub const STALLED: &str = "Stalled";

/// The conditions that every `OidcProxy` has from first sight, in the order of their causes.
pub const STANDING: [&str; 9] = [
    READY,
    SERVING,
    SPEC_VALID,
    CERTIFICATE_READY,
    RBAC_READY,
    DEPLOYMENT_AVAILABLE,
    NETWORK_POLICY_APPLIED,
    ISSUERS_REACHABLE,
    ENDPOINT_READY,
];
