//! How many files and sockets the process may have, and what they are for.

/// For files, the admin port, issuers, the watch, and reviews, of which there are 128 at a time.
const RESERVED: u64 = 320;
/// Enough for a cluster; each takes some 50 KiB with its buffers.
const MAX_CLIENTS: u64 = 16 * 1024;
/// To one address and port there are some 28,000 connections, by the ports that Linux hands out.
const MAX_REQUESTS: u64 = 24 * 1024;
/// However few there are: with less there is nothing to be served.
const LEAST: u64 = 64;

/// What may be open at a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Descriptors {
    /// Connections of clients.
    pub(crate) clients: usize,
    /// Requests at kube-apiserver, each of which has a connection of its own there.
    pub(crate) requests: usize,
}

impl Descriptors {
    /// Raises the limit as far as it may be raised. Runtimes start containers with 1024, for programs
    /// that still use select(2).
    pub(crate) fn claim() -> Self {
        Self::of(rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024))
    }

    /// Shares the limit out: one connection of a client may carry many requests.
    fn of(limit: u64) -> Self {
        let free = limit.saturating_sub(RESERVED);
        let clients = (free / 2).clamp(LEAST, MAX_CLIENTS);
        let requests = free.saturating_sub(clients).clamp(LEAST, MAX_REQUESTS);
        let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        Self {
            clients: size(clients),
            requests: size(requests),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_kept_to() {
        for limit in [512, 1024, 4096, 65_536, 1 << 20, u64::MAX] {
            let Descriptors { clients, requests } = Descriptors::of(limit);
            let used = u64::try_from(clients + requests).unwrap();
            assert!(used + RESERVED <= limit, "{limit}: {used}");
            assert!(clients >= 64 && requests >= 64, "{limit}");
        }
        let tiny = Descriptors {
            clients: 64,
            requests: 64,
        };
        assert_eq!(Descriptors::of(10), tiny);
        let most = Descriptors {
            clients: 16 * 1024,
            requests: 24 * 1024,
        };
        assert_eq!(Descriptors::of(1 << 20), most);
    }
}
