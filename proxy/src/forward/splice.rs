//! A connection that has left HTTP: bytes both ways, until both sides have ended.

use std::{sync::Arc, time::Duration};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;
use tokio_util::sync::CancellationToken;

use super::{noticed_end::NoticedEnd, session::Session};
use crate::audit::{CountedStream, EndReason, Exchange};

/// What the other side has still to say once kube-apiserver has ended: a client that does not
/// close then would hold the stream for ever.
const GRACE: Duration = Duration::from_secs(30);
/// One TLS record.
const BUFFER: usize = 16 * 1024;

/// Copies until both sides have ended, or the stream must end. One side's end is passed on and
/// the other goes on: `kubectl exec -i` ends its input long before the output does.
pub(crate) async fn splice(
    client: OnUpgrade,
    upstream: OnUpgrade,
    end: CancellationToken,
    withdrawn: CancellationToken,
    session: Session,
    exchange: Arc<Exchange>,
) {
    let (client, upstream) = match tokio::try_join!(client, upstream) {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(%error, "a stream ended before it began");
            return exchange.flow().end_with(EndReason::StreamBroke);
        }
    };
    let flow = exchange.flow();
    let mut client = CountedStream::new(TokioIo::new(client), Arc::clone(flow));
    let upstream_ended = CancellationToken::new();
    let mut upstream = NoticedEnd::new(TokioIo::new(upstream), upstream_ended.clone());
    tokio::select! {
        copied = copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER) => {
            if let Err(error) = copied {
                tracing::debug!(%error, "a stream broke");
                flow.end_with(EndReason::StreamBroke);
            }
        }
        reason = session.end(flow) => exchange.cut(reason),
        () = async {
            upstream_ended.cancelled().await;
            tokio::time::sleep(GRACE).await;
        } => exchange.cut(EndReason::HalfClosed),
        () = end.cancelled() => exchange.cut(EndReason::DrainDeadline),
        () = withdrawn.cancelled() => exchange.cut(EndReason::IssuerWithdrawn),
    }
}
