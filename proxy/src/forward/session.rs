//! How long a stream may live: by its token, by the clock, by its silence.

use std::{
    future::pending,
    time::{Duration, Instant, SystemTime},
};

use oidcproxy_crds::v1alpha1::settings::SessionSettings;

use crate::audit::{EndReason, Flow};

/// How long streams may live; what is absent is not bounded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SessionLimits {
    end_at_token_expiry: bool,
    max_duration: Option<Duration>,
    idle_timeout: Option<Duration>,
}

impl From<SessionSettings> for SessionLimits {
    fn from(settings: SessionSettings) -> Self {
        let seconds = |seconds: u32| Duration::from_secs(seconds.max(1).into());
        Self {
            end_at_token_expiry: settings.end_at_token_expiry,
            max_duration: settings.max_duration_seconds.map(seconds),
            idle_timeout: settings.idle_timeout_seconds.map(seconds),
        }
    }
}

impl SessionLimits {
    /// For a stream that begins now, by a token that expires then.
    pub(crate) fn begin(self, expires: Option<SystemTime>) -> Session {
        let now = Instant::now();
        let left = expires.filter(|_| self.end_at_token_expiry).map(|expires| {
            expires
                .duration_since(SystemTime::now())
                .unwrap_or_default()
        });
        let by_token = left.map(|left| (left, EndReason::TokenExpired));
        let by_clock = self.max_duration.map(|left| (left, EndReason::MaxDuration));
        let first = by_token
            .into_iter()
            .chain(by_clock)
            .min_by_key(|(left, _)| *left);
        Session {
            deadline: first.and_then(|(left, reason)| Some((now.checked_add(left)?, reason))),
            idle_timeout: self.idle_timeout,
        }
    }
}

/// The limits of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Session {
    deadline: Option<(Instant, EndReason)>,
    idle_timeout: Option<Duration>,
}

impl Session {
    /// Waits for the end, if there is one.
    pub(crate) async fn end(self, flow: &Flow) -> EndReason {
        tokio::select! {
            reason = self.deadline() => reason,
            () = self.idle(flow) => EndReason::IdleTimeout,
        }
    }

    async fn deadline(self) -> EndReason {
        let Some((deadline, reason)) = self.deadline else {
            return pending().await;
        };
        tokio::time::sleep_until(deadline.into()).await;
        reason
    }

    /// Looks now and then: to set a timer anew for each byte would cost more.
    async fn idle(self, flow: &Flow) {
        let Some(idle) = self.idle_timeout else {
            return pending().await;
        };
        let mut moved = None;
        let mut since = Instant::now();
        while since.elapsed() < idle {
            let now = Some((flow.bytes_in(), flow.bytes_out()));
            if now != moved {
                moved = now;
                since = Instant::now();
            }
            tokio::time::sleep(idle / 8).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(settings: SessionSettings) -> SessionLimits {
        settings.into()
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_first_ends_it() {
        let flow = Flow::default();
        let both = limits(SessionSettings {
            end_at_token_expiry: true,
            max_duration_seconds: Some(3600),
            idle_timeout_seconds: None,
        });
        let soon = SystemTime::now() + Duration::from_mins(1);
        let late = SystemTime::now() + Duration::from_hours(2);
        assert_eq!(
            both.begin(Some(soon)).end(&flow).await,
            EndReason::TokenExpired
        );
        assert_eq!(
            both.begin(Some(late)).end(&flow).await,
            EndReason::MaxDuration
        );
        assert_eq!(both.begin(None).end(&flow).await, EndReason::MaxDuration);
    }

    #[tokio::test]
    async fn silence_ends_it_and_bytes_keep_it() {
        let flow = Flow::default();
        let idle = limits(SessionSettings {
            idle_timeout_seconds: Some(1),
            ..SessionSettings::default()
        });
        let chatter = async {
            for _ in 0..15 {
                flow.add_out(1);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let began = Instant::now();
        let (reason, ()) = tokio::join!(idle.begin(None).end(&flow), chatter);
        assert_eq!(reason, EndReason::IdleTimeout);
        assert!(
            began.elapsed() >= Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
    }
}
