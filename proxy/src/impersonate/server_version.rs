//! Which kube-apiserver we stand before, as far as it decides what is reviewed.

use std::time::Duration;

use kube::Client;
use tokio::sync::watch;

/// Constrained impersonation is on by default since this minor version.
const CONSTRAINED_SINCE: u32 = 36;
const PATIENCE: Duration = Duration::from_secs(4);
/// Servers are upgraded while we run.
const LOOK: Duration = Duration::from_mins(5);
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What the server can do, as far as it has said so.
#[derive(Clone, Debug)]
pub(super) struct ServerVersion(watch::Receiver<Option<bool>>);

impl ServerVersion {
    /// Asks for as long as anybody wants to know.
    pub(super) fn follow(client: Client) -> Self {
        let (known, receiver) = watch::channel(None);
        tokio::spawn(async move {
            while !known.is_closed() {
                let asked = tokio::time::timeout(PATIENCE, client.apiserver_version()).await;
                let version = asked.ok().and_then(Result::ok);
                let pause = if let Some(version) = version {
                    let constrained = has_constrained(&version.major, &version.minor);
                    known.send_replace(Some(constrained));
                    LOOK
                } else {
                    // What was known stays; who says nothing at first is taken for old.
                    known.send_if_modified(|known| {
                        let first = known.is_none();
                        known.get_or_insert(false);
                        first
                    });
                    LOOK_AGAIN
                };
                tokio::time::sleep(pause).await;
            }
        });
        Self(receiver)
    }

    /// Waits for the first attempt. Without an answer there is no more than the `impersonate`
    /// verb, which every server knows.
    pub(super) async fn has_constrained_impersonation(&self) -> bool {
        let mut known = self.0.clone();
        let known = known.wait_for(Option::is_some).await;
        known.is_ok_and(|known| *known == Some(true))
    }
}

/// Providers append a `+` to the minor version.
fn has_constrained(major: &str, minor: &str) -> bool {
    let digits = minor.split(|c: char| !c.is_ascii_digit()).next();
    let minor = digits.and_then(|digits| digits.parse::<u32>().ok());
    major == "1" && minor.is_some_and(|minor| minor >= CONSTRAINED_SINCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_decides() {
        for (major, minor, expected) in [
            ("1", "35", false),
            ("1", "36", true),
            ("1", "36+", true),
            ("1", "40", true),
            ("1", "", false),
            ("", "36", false),
        ] {
            assert_eq!(has_constrained(major, minor), expected, "{major}.{minor}");
        }
    }
}
