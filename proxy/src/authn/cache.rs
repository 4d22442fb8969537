//! Verified tokens, so that a client's next request costs a hash and a look-up.
//!
//! A cache belongs to one revision of the settings and goes with it. Tokens are not kept, only
//! their hashes. An entry is good while its token has not expired and its key is still one of the
//! issuer's; both are looked at each time, not only when it is made.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{SHA256, digest};
use moka::sync::Cache;

use super::VerifiedToken;

/// However long a token lives.
const MAX_AGE: Duration = Duration::from_mins(10);
/// All identities together, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

type TokenHash = [u8; 32];

/// Verified tokens by their hashes.
#[derive(Debug)]
pub(crate) struct TokenCache {
    entries: Cache<TokenHash, Arc<VerifiedToken>>,
}

impl TokenCache {
    pub(crate) fn new() -> Self {
        let entries = Cache::builder()
            .max_capacity(MAX_BYTES)
            .weigher(|_, token: &Arc<VerifiedToken>| token.size())
            .time_to_live(MAX_AGE)
            .build();
        Self { entries }
    }

    pub(crate) fn get(&self, token: &str, now: SystemTime) -> Option<Arc<VerifiedToken>> {
        let hash = hash(token);
        let entry = self.entries.get(&hash)?;
        if entry.is_valid(now) {
            return Some(entry);
        }
        self.entries.invalidate(&hash);
        None
    }

    pub(crate) fn insert(&self, token: &str, verified: Arc<VerifiedToken>) {
        self.entries.insert(hash(token), verified);
    }
}

fn hash(token: &str) -> TokenHash {
    let mut hash = TokenHash::default();
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}
