//! How much of an answer there was, and what ended it before its own end.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// What ended an answer or a stream before its own end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum EndReason {
    /// The client went away.
    ClientClosed,
    /// kube-apiserver broke off.
    UpstreamBroke,
    /// One side of a stream broke off.
    StreamBroke,
    /// The issuer of the stream's token is not accepted any more.
    IssuerWithdrawn,
    /// The token of the stream has expired.
    TokenExpired,
    /// The stream has lived as long as streams may.
    MaxDuration,
    /// Nothing has moved for as long as streams may rest.
    IdleTimeout,
    /// kube-apiserver has ended its side and the client never ended its own.
    HalfClosed,
    /// The proxy leaves; a watch goes on elsewhere.
    ProxyLeaving,
    /// The proxy has left.
    DrainDeadline,
    /// A fault of the proxy's.
    Panic,
}

impl EndReason {
    /// As lines say it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ClientClosed => "client_closed",
            Self::UpstreamBroke => "upstream_broke",
            Self::StreamBroke => "stream_broke",
            Self::IssuerWithdrawn => "issuer_withdrawn",
            Self::TokenExpired => "token_expired",
            Self::MaxDuration => "max_duration",
            Self::IdleTimeout => "idle_timeout",
            Self::HalfClosed => "half_closed",
            Self::ProxyLeaving => "proxy_leaving",
            Self::DrainDeadline => "drain_deadline",
            Self::Panic => "panic",
        }
    }
}

/// What has moved so far, and what ended it.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    end: OnceLock<EndReason>,
}

impl Flow {
    /// Bytes from the client.
    pub(crate) fn add_in(&self, bytes: usize) {
        add(&self.bytes_in, bytes);
    }

    /// Bytes to the client.
    pub(crate) fn add_out(&self, bytes: usize) {
        add(&self.bytes_out, bytes);
    }

    /// The first reason counts.
    pub(crate) fn end_with(&self, reason: EndReason) {
        let _ = self.end.set(reason);
    }

    pub(crate) fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) -> Option<EndReason> {
        self.end.get().copied()
    }
}

fn add(counter: &AtomicU64, bytes: usize) {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    counter.fetch_add(bytes, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The words that a function of this name can say.
    fn words(code: &str, function: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for body in code.split(&format!("fn {function}(")).skip(1) {
            let body = body.split("\n    }\n").next().unwrap();
            found.extend(body.split('"').skip(1).step_by(2).map(str::to_owned));
        }
        assert!(!found.is_empty(), "no {function}");
        found
    }

    #[test]
    fn the_documented_reasons_are_those_that_there_are() {
        let mut reasons = words(include_str!("ending.rs"), "as_str");
        reasons.extend(words(include_str!("../refusal.rs"), "metric_reason"));
        reasons.extend(words(include_str!("../authn/mod.rs"), "metric_reason"));
        let text = include_str!("../../../docs/logs.md");
        let (_, section) = text.split_once("\n### Reasons\n").unwrap();
        let rows = section.lines().skip_while(|line| !line.starts_with("|---"));
        let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
        let cells = rows.map(|row| row.split('|').nth(1).unwrap());
        let documented: BTreeSet<String> = cells
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .map(str::to_owned)
            .collect();
        assert_eq!(reasons, documented);
    }
}
