//! Taking leave: not ready, but still serving until everybody has noticed; then no new requests,
//! streams until a deadline; then the end.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The phases of the leave, each of which begins when its token is cancelled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drain {
    /// Not ready any more. Load balancers and endpoints take seconds to notice.
    pub(crate) leaving: CancellationToken,
    /// No new connections; HTTP/2 clients are told to go, requests under way finish.
    pub(crate) closing: CancellationToken,
    /// Whatever is left is cut.
    pub(crate) end: CancellationToken,
}

impl Drain {
    /// Goes through the phases; `settled` ends the wait for streams early.
    pub(crate) async fn run(
        &self,
        delay: Duration,
        deadline: Duration,
        settled: impl Future<Output = ()>,
    ) {
        self.leaving.cancel();
        tracing::info!(?delay, "leaving: not ready, still serving");
        tokio::time::sleep(delay).await;
        self.closing.cancel();
        tracing::info!(?deadline, "closing: requests and streams may finish");
        if tokio::time::timeout(deadline, settled).await.is_err() {
            tracing::info!("the deadline is over: what is left is cut");
        }
        self.end.cancel();
    }
}
