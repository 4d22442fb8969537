//! How many files and sockets the process may have.

/// Raises the limit as far as it may be raised, and says where it is. Runtimes start containers
/// with 1024, for programs that still use select(2); every watch takes two of them.
pub(crate) fn raise_limit() -> u64 {
    rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024)
}
