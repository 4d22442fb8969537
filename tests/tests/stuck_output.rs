//! Access lines that nobody reads: they hold up no request, and what is lost is counted.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::time::Duration;

use oidcproxy_tests::{
    bed::Bed,
    client::{Call, Protocol},
};
use tokio::time::Instant;

async fn dropped(bed: &Bed) -> u64 {
    let metrics = bed.proxy.probe("/metrics").await.unwrap().text();
    let mut lines = metrics.lines();
    let count = lines.find_map(|line| line.strip_prefix("oidc_proxy_log_dropped_total "));
    count.unwrap().parse().unwrap()
}

#[tokio::test]
async fn lines_that_nobody_reads_hold_up_no_request() {
    for format in ["classic", "json"] {
        let mut bed = Bed::with(|setup, _| {
            let setup = setup.flag(format!("--log-format={format}"));
            setup.unread_output().flag("--drain-delay=0")
        })
        .await;
        assert_eq!(dropped(&bed).await, 0);
        // 16 MiB may wait, and a pipe holds a little.
        let claim = "a".repeat(48 * 1024);
        let call = Call::get("/api/v1/pods")
            .bearer(&bed.token("alice", &[]))
            .header("x-forwarded-for", claim);
        for protocol in Protocol::BOTH {
            let mut connection = bed.connect(protocol).await;
            for _ in 0..250 {
                let began = Instant::now();
                let reply = connection.send(call.clone()).await.unwrap();
                reply.assert_status(200);
                let taken = began.elapsed();
                assert!(taken < Duration::from_secs(5), "{taken:?}");
            }
        }
        let lost = dropped(&bed).await;
        assert!((1..500).contains(&lost), "{lost} of 500");
        // Nor do they hold up the end.
        bed.proxy.terminate().unwrap();
        let ended = bed.proxy.process.wait(Duration::from_secs(30)).await;
        assert!(ended.unwrap().success());
    }
}
