//! Why a pass ended early, and what the status says of it.

use oidcproxy_crds::v1alpha1::conditions as types;

use super::{Problem, Refusal, apply, certificates, dereference, refusal::Reason};

/// As many passes in a row may fail before the status says so: a hiccup is nobody's business.
const PATIENCE: u32 = 3;

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object is not an `OidcProxy` as this operator knows it.
    #[error("the object cannot be read: {0}")]
    Unreadable(String),
    /// The object has no name, namespace or UID.
    #[error("the object is incomplete")]
    Incomplete,
    /// A pass took too long.
    #[error("the API server is too slow")]
    Timeout,
    /// The spec is refused.
    #[error("refused: {}", .0.message)]
    Refused(Refusal),
    /// What the spec refers to cannot be read.
    #[error(transparent)]
    Dereference(#[from] dereference::Error),
    /// An object is not as it should be.
    #[error(transparent)]
    Apply(#[from] apply::Error),
    /// There is no certificate.
    #[error(transparent)]
    Certificates(#[from] certificates::Error),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Error {
    /// What the status says of it; nothing while it may pass by itself.
    pub fn problem(&self, failures: u32) -> Option<Problem> {
        match self {
            Self::Refused(refusal) => Some(refusal.into()),
            Self::Apply(error) | Self::Certificates(certificates::Error::Apply(error)) => {
                apply_problem(error, failures)
            }
            Self::Dereference(_) if failures >= PATIENCE => Some(Problem::of(
                types::SPEC_VALID,
                "ReferenceUnreadable",
                self.to_string(),
            )),
            Self::Certificates(certificates::Error::Issue(_)) if failures >= PATIENCE => Some(
                Problem::of(types::CERTIFICATE_READY, "IssueFailed", self.to_string()),
            ),
            _ => None,
        }
    }

    /// Whether somebody else was faster.
    pub fn is_conflict(&self) -> bool {
        self.source_status()
            .is_some_and(|status| status.code == 409)
    }

    /// Whether the status already says what has to change, so that retrying fast is of no use.
    pub fn is_stalled(&self) -> bool {
        self.problem(0).is_some_and(|problem| problem.stalled)
    }

    /// Whether an object of somebody else is in the way.
    pub fn is_foreign(&self) -> bool {
        matches!(
            self,
            Self::Apply(apply::Error::Foreign { .. })
                | Self::Certificates(certificates::Error::Apply(apply::Error::Foreign { .. }))
        )
    }

    /// Whether the API server will have nothing to do with what was written.
    pub fn is_invalid(&self) -> bool {
        self.source_status()
            .is_some_and(kube::core::Status::is_invalid)
    }

    fn source_status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Apply(apply::Error::Request { source, .. })
            | Self::Certificates(certificates::Error::Apply(apply::Error::Request {
                source,
                ..
            })) => api_status(source),
            _ => None,
        }
    }

    /// In one word, for metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Unreadable(_) | Self::Incomplete => "unreadable",
            Self::Timeout => "timeout",
            Self::Refused(_) => "refused",
            Self::Dereference(_) => "dereference",
            Self::Apply(_) | Self::Certificates(_) if self.is_foreign() => "conflict",
            Self::Apply(_) => "apply",
            Self::Certificates(_) => "certificates",
        }
    }
}

fn api_status(error: &kube::Error) -> Option<&kube::core::Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

fn apply_problem(error: &apply::Error, failures: u32) -> Option<Problem> {
    let condition = condition_of(error.kind());
    match error {
        apply::Error::Foreign { .. } => Some(Problem::of(
            condition,
            Reason::Conflict.as_str(),
            error.to_string(),
        )),
        apply::Error::Request { source, .. } => {
            let status = api_status(source);
            let detail = status.map_or("", |status| status.message.as_str());
            let message = format!("{error}: {detail}");
            match status {
                Some(status) if status.is_invalid() && error.kind() == "OidcProxy" => {
                    Some(Problem {
                        stalled: true,
                        ..Problem::of(types::READY, Reason::StatusRefused.as_str(), message)
                    })
                }
                Some(status) if status.is_invalid() => Some(Problem {
                    stalled: true,
                    ..Problem::of(types::SPEC_VALID, Reason::InvalidSpec.as_str(), message)
                }),
                // The API server's own protection against escalation.
                Some(status) if status.is_forbidden() && detail.contains("not currently held") => {
                    let hint = "the operator may grant only what it holds; extra keys are listed in its chart's impersonation.extraKeys";
                    let message = format!("{hint}: {message}");
                    Some(Problem::of(condition, "Forbidden", message))
                }
                Some(status) if status.is_forbidden() => {
                    Some(Problem::of(condition, "Forbidden", message))
                }
                Some(status) if status.is_conflict() => None,
                _ if failures >= PATIENCE => Some(Problem::of(condition, "ApplyFailed", message)),
                _ => None,
            }
        }
    }
}

/// The condition that speaks of objects of this kind.
fn condition_of(kind: &str) -> &'static str {
    match kind {
        "Secret" => types::CERTIFICATE_READY,
        "ServiceAccount" | "ClusterRole" | "ClusterRoleBinding" | "Role" | "RoleBinding" => {
            types::RBAC_READY
        }
        "NetworkPolicy" => types::NETWORK_POLICY_APPLIED,
        "Service" | "ConfigMap" | "EndpointSlice" => types::ENDPOINT_READY,
        _ => types::DEPLOYMENT_AVAILABLE,
    }
}
