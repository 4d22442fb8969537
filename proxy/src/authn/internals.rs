//! See [`crate::internals`].

use std::time::{Duration, UNIX_EPOCH};

use super::{claims, token};
use crate::internals::HeaderLine;

/// A token whose signature nobody has looked at.
#[derive(Debug)]
pub struct ReadToken {
    /// Whose it says it is, by the first look that decides whose rules apply.
    pub issuer: String,
    /// The same by the second look, which refuses what is ambiguous.
    pub checked_issuer: Option<serde_json::Value>,
    /// The identity as headers, if the claims make one.
    pub identity: Option<Vec<HeaderLine>>,
}

/// Reads a token as far as that goes without keys.
pub fn read_token(token: &str) -> Result<ReadToken, String> {
    let issuer = token::claimed_issuer(token).ok_or("unclaimed")?;
    let parsed = token::UnverifiedToken::parse(token).map_err(|error| error.to_string())?;
    let now = UNIX_EPOCH + Duration::from_hours(500_000);
    let audiences = ["kubernetes".to_owned()];
    let checked = claims::check(&parsed.claims, &audiences, now);
    Ok(ReadToken {
        issuer,
        checked_issuer: parsed.claims.get("iss").cloned(),
        identity: checked.ok().and(None),
    })
}
