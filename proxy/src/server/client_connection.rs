//! What is known of a client's connection beside its requests: whether anything is under way, and
//! whether its client is welcome.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{audit::RecordedBody, body::BodyError};

/// From TCP to the end of the first head: a client that means it needs a second.
const FIRST_REQUEST: Duration = Duration::from_secs(30);
/// Without a request or an answer; in HTTP/1.1 the header timeout is shorter.
const IDLE: Duration = Duration::from_mins(5);
/// What has been told to end may still send what is buffered, and read that it should go.
const LAST_BYTES: Duration = Duration::from_secs(30);
/// There are no bytes before the first answer.
const GOODBYE: Duration = Duration::from_secs(3);
/// Between two looks at least.
const LOOK: Duration = Duration::from_secs(1);

/// One connection of a client.
#[derive(Debug)]
pub(super) struct ClientConnection {
    began: Instant,
    has_asked: AtomicBool,
    busy: AtomicUsize,
    /// When something moved last, in milliseconds since the beginning.
    moved: AtomicU64,
    unwelcome: CancellationToken,
}

impl Default for ClientConnection {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            has_asked: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
            moved: AtomicU64::new(0),
            unwelcome: CancellationToken::new(),
        }
    }
}

impl ClientConnection {
    /// Whoever has no credential keeps no connection: kube-apiserver does the same, since an
    /// HTTP/2 connection costs a client nothing and a server much.
    pub(super) fn dismiss(&self) {
        self.unwelcome.cancel();
    }

    /// Ends when the connection should: its client asks for nothing, is not welcome, or nothing
    /// has been under way for so long.
    pub(super) async fn should_end(&self) {
        let deserted = async {
            self.quiet_for(FIRST_REQUEST).await;
            if self.has_asked.load(Ordering::Relaxed) {
                self.quiet_for(IDLE).await;
            }
        };
        tokio::select! {
            () = deserted => {}
            () = self.unwelcome.cancelled() => {}
        }
    }

    /// Ends when a connection that was told to end need not be waited for any longer. HTTP/2 leaves
    /// it to the client when it takes an answer, and hyper to the client when a connection begins.
    pub(super) async fn is_deserted(&self) {
        self.touch();
        if self.has_asked.load(Ordering::Relaxed) {
            self.quiet_for(LAST_BYTES).await;
        } else {
            self.quiet_for(GOODBYE).await;
        }
    }

    /// Ends once nothing has been under way for so long.
    async fn quiet_for(&self, time: Duration) {
        loop {
            let moved = Duration::from_millis(self.moved.load(Ordering::Relaxed));
            let quiet = self.began.elapsed().saturating_sub(moved);
            let is_busy = self.busy.load(Ordering::Relaxed) > 0;
            if quiet >= time && !is_busy {
                return;
            }
            // Whatever is under way, its end begins the time anew.
            let left = if is_busy {
                time
            } else {
                time.saturating_sub(quiet)
            };
            tokio::time::sleep(left.max(LOOK)).await;
        }
    }

    fn touch(&self) {
        let moved = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(moved, Ordering::Relaxed);
    }
}

/// Something is under way, for as long as it lives.
#[derive(Debug)]
pub(super) struct Busy(Arc<ClientConnection>);

impl Busy {
    /// A request has arrived.
    pub(super) fn new(connection: &Arc<ClientConnection>) -> Self {
        connection.has_asked.store(true, Ordering::Relaxed);
        connection.busy.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connection))
    }

    /// The body of an answer to somebody known: its connection is waited for until the last frame.
    pub(super) fn until_the_end_of(self, body: RecordedBody) -> ClientBody {
        ClientBody {
            body,
            sending: Sending::ToUser(self),
        }
    }

    /// The body of an answer that anybody may get. It is waited for while the client takes it: in
    /// HTTP/2 it costs nothing to ask for answers and to leave them here.
    pub(super) fn while_it_moves(self, body: RecordedBody) -> ClientBody {
        let connection = Arc::clone(&self.0);
        ClientBody {
            body,
            sending: Sending::ToStranger(connection),
        }
    }

    pub(super) fn connection(&self) -> &ClientConnection {
        &self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.touch();
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer's body on its way to the client.
pub(super) struct ClientBody {
    body: RecordedBody,
    sending: Sending,
}

enum Sending {
    ToUser(#[expect(dead_code, reason = "it is held")] Busy),
    ToStranger(Arc<ClientConnection>),
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Sending::ToStranger(connection) = &this.sending {
            connection.touch();
        }
        Pin::new(&mut this.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn took(waited_for: impl Future<Output = ()>) -> Duration {
        let began = Instant::now();
        waited_for.await;
        began.elapsed()
    }

    /// About as long: timers of a paused clock tick in milliseconds.
    #[track_caller]
    fn assert_about(took: Duration, expected: Duration) {
        let range = expected..=expected + LOOK;
        assert!(range.contains(&took), "{took:?} instead of {expected:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_for_nothing_has_less_time() {
        let silent = Arc::new(ClientConnection::default());
        assert_about(took(silent.should_end()).await, FIRST_REQUEST);
        assert_about(took(silent.is_deserted()).await, GOODBYE);
        let asking = Arc::new(ClientConnection::default());
        drop(Busy::new(&asking));
        assert_about(took(asking.should_end()).await, IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_is_waited_for() {
        let client = Arc::new(ClientConnection::default());
        let busy = Busy::new(&client);
        let work = async {
            tokio::time::sleep(IDLE * 3).await;
            drop(busy);
        };
        let ((), ended) = tokio::join!(work, took(client.should_end()));
        assert_about(ended, IDLE * 4);
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_are_not_waited_for() {
        let client = Arc::new(ClientConnection::default());
        Busy::new(&client).connection().dismiss();
        assert_about(took(client.should_end()).await, Duration::ZERO);
        assert_about(took(client.is_deserted()).await, LAST_BYTES);
        let busy = Busy::new(&client);
        let work = async {
            tokio::time::sleep(LAST_BYTES * 3).await;
            drop(busy);
        };
        let ((), ended) = tokio::join!(work, took(client.is_deserted()));
        assert_about(ended, LAST_BYTES * 4);
    }
}
