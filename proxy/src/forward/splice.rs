//! A connection that has left HTTP: bytes both ways, until both sides have ended.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;
use tokio_util::sync::CancellationToken;

use crate::metrics::Guard;

/// One TLS record.
const BUFFER: usize = 16 * 1024;

/// Copies until both sides have ended, or the stream must end. One side's end is passed on and
/// the other goes on: `kubectl exec -i` ends its input long before the output does.
pub(crate) async fn splice(
    client: OnUpgrade,
    upstream: OnUpgrade,
    end: CancellationToken,
    withdrawn: CancellationToken,
    _counted: Guard,
) {
    let (client, upstream) = match tokio::try_join!(client, upstream) {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(%error, "a stream ended before it began");
            return;
        }
    };
    let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
    tokio::select! {
        copied = copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER) => {
            if let Err(error) = copied {
                tracing::debug!(%error, "a stream broke");
            }
        }
        () = end.cancelled() => tracing::info!("a stream was cut: the proxy ends"),
        () = withdrawn.cancelled() => tracing::info!("a stream was cut: its issuer is not accepted any more"),
    }
}
