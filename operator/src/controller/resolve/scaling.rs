//! How many pods there are, or who decides that.

use oidcproxy_crds::v1alpha1::deployment::Deployment;

/// As many pods as there are unless the spec says otherwise.
const REPLICAS: i32 = 2;
/// In percent of what is requested.
const CPU_UTILIZATION: i32 = 80;

/// How many pods there are, or who decides that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scaling {
    /// The spec.
    Fixed(i32),
    /// A HorizontalPodAutoscaler, within bounds.
    Automatic {
        /// At least.
        min: i32,
        /// At most.
        max: i32,
        /// Share of the requested CPU to aim at, in percent.
        cpu: Option<i32>,
        /// Open streams of a pod to aim at.
        streams: Option<i32>,
    },
}

impl Scaling {
    pub(super) fn of(deployment: &Deployment) -> Self {
        let Some(given) = &deployment.autoscaling else {
            return Self::Fixed(deployment.replicas.unwrap_or(REPLICAS));
        };
        let (cpu, streams) = (given.target_cpu_utilization, given.target_streams);
        Self::Automatic {
            min: given
                .min_replicas
                .unwrap_or_else(|| REPLICAS.min(given.max_replicas)),
            max: given.max_replicas,
            cpu: cpu.or_else(|| streams.is_none().then_some(CPU_UTILIZATION)),
            streams,
        }
    }

    /// The fewest that there should ever be.
    pub fn least(self) -> i32 {
        match self {
            Self::Fixed(replicas) => replicas,
            Self::Automatic { min, .. } => min,
        }
    }
}
