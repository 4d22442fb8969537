//! What is known of a client's connection beside its requests: whether anything is under way, and
//! whether its client is welcome.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::CancellationToken;

use crate::{audit::RecordedBody, body::BodyError};

/// How often idleness is looked at.
const LOOK: Duration = Duration::from_secs(30);

/// One connection of a client.
#[derive(Debug)]
pub(super) struct ClientConnection {
    began: Instant,
    busy: AtomicUsize,
    /// When the last answer ended, in seconds since the beginning.
    idle_since: AtomicU64,
    unwelcome: CancellationToken,
}

impl Default for ClientConnection {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            busy: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
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

    /// Ends when the connection should: its client is not welcome, or nothing has been under way
    /// for so long.
    pub(super) async fn should_end(&self, idle: Duration) {
        let idled = async {
            loop {
                tokio::time::sleep(LOOK).await;
                let since = Duration::from_secs(self.idle_since.load(Ordering::Relaxed));
                let quiet = self.began.elapsed().saturating_sub(since) > idle;
                if quiet && self.busy.load(Ordering::Relaxed) == 0 {
                    return;
                }
            }
        };
        tokio::select! {
            () = idled => {}
            () = self.unwelcome.cancelled() => {}
        }
    }
}

/// Something is under way, for as long as it lives.
#[derive(Debug)]
pub(super) struct Busy(Arc<ClientConnection>);

impl Busy {
    pub(super) fn new(connection: &Arc<ClientConnection>) -> Self {
        connection.busy.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connection))
    }

    pub(super) fn connection(&self) -> &ClientConnection {
        &self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let seconds = self.0.began.elapsed().as_secs();
        self.0.idle_since.store(seconds, Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer's body that keeps its connection busy until the last frame.
pub(super) struct BusyBody {
    pub(super) body: RecordedBody,
    pub(super) _busy: Busy,
}

impl Body for BusyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
