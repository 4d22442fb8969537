//! What ends an answer before its own end.

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
};

use tokio_util::sync::CancellationToken;

use crate::{
    audit::{EndReason, Exchange},
    authn::Requester,
    forward::Session,
    request::{LongRunning, RequestInfo},
};

/// What ends an answer before its own end.
pub(crate) struct EarlyEnd {
    requester: Requester,
    long_running: Option<LongRunning>,
    leave: Option<CancellationToken>,
    session: Session,
    exchange: Arc<Exchange>,
}

impl EarlyEnd {
    /// An issuer that is withdrawn ends every answer, whatever we take it for; a session only
    /// those that may run for long. A watch ends when we leave (`closing`): its client starts
    /// another one, elsewhere, and misses nothing. Logs cannot be taken up again, so they go on
    /// until the deadline.
    pub(crate) fn of(
        info: &RequestInfo,
        requester: Requester,
        session: Session,
        closing: &CancellationToken,
        exchange: &Arc<Exchange>,
    ) -> Self {
        let long_running = info.long_running;
        let is_watch = long_running == Some(LongRunning::Watch);
        Self {
            requester,
            long_running,
            leave: is_watch.then(|| closing.clone()),
            session: if long_running.is_some() {
                session
            } else {
                Session::default()
            },
            exchange: Arc::clone(exchange),
        }
    }

    /// Whether the answer will last long enough to be worth the wait.
    pub(crate) fn is_likely(&self) -> bool {
        self.long_running.is_some()
    }

    /// Whether an answer that ends early is as good as any other.
    pub(crate) fn is_proper(&self) -> bool {
        matches!(
            self.long_running,
            Some(LongRunning::Watch | LongRunning::Log)
        )
    }

    /// Waits for the end, and notes why.
    pub(crate) fn wait(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let requester = self.requester.clone();
        let leave = self.leave.clone();
        let session = self.session;
        let exchange = Arc::clone(&self.exchange);
        Box::pin(async move {
            let leave = async {
                match &leave {
                    None => pending().await,
                    Some(leave) => leave.cancelled().await,
                }
            };
            tokio::select! {
                () = requester.withdrawn().cancelled() => exchange.cut(EndReason::IssuerWithdrawn),
                // Every watch at once, and none is missed: nothing to tell of each.
                () = leave => exchange.flow().end_with(EndReason::ProxyLeaving),
                reason = session.end(exchange.flow()) => exchange.cut(reason),
            }
        })
    }
}
