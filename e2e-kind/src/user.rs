//! Users of Keycloak, with tokens that are fresh enough.

use std::{
    collections::HashMap,
    process::Command,
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::environment::repository;

/// Keycloak's tokens live for five minutes.
const FRESH: Duration = Duration::from_secs(150);

static TOKENS: Mutex<Option<HashMap<String, (Instant, String)>>> = Mutex::new(None);

/// An `id_token` of a user, by the password grant.
pub fn token(user: &str) -> String {
    let mut tokens = TOKENS.lock().unwrap();
    let tokens = tokens.get_or_insert_default();
    if let Some((since, token)) = tokens.get(user)
        && since.elapsed() < FRESH
    {
        return token.clone();
    }
    let output = Command::new(repository().join("e2e-kind/cluster/issuer.sh"))
        .args(["token", user])
        .env("ISSUER", "keycloak")
        .output()
        .expect("the issuer's script runs");
    assert!(
        output.status.success(),
        "no token for {user}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    tokens.insert(user.to_owned(), (Instant::now(), token.clone()));
    token
}
