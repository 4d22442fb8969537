//! Whatever the API server does, the operator gets there.

use std::time::Duration;

use oidcproxy_tests::faulty_api::{Asked, Fault};
use tokio::time::{Instant, sleep};

use crate::{
    bed::{Bed, in_each},
    operator::Operator,
};

const NAMESPACES: [&str; 3] = ["f-fault-0", "f-fault-1", "f-fault-2"];

type Matches = fn(&Asked) -> bool;

struct Row {
    what: &'static str,
    fault: Fault,
    times: usize,
    matches: Matches,
    /// Watches that are open end, so that others begin.
    cuts: bool,
}

const fn row(what: &'static str, fault: Fault, times: usize, matches: Matches) -> Row {
    Row {
        what,
        fault,
        times,
        matches,
        cuts: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_converges_whatever_the_api_server_does() {
    let any: Matches = |asked| !asked.is_watch() && !asked.target.contains("/events");
    let deployment: Matches = |asked| asked.is_write() && asked.target.contains("/deployments/");
    let of_watches = |what, fault, times| Row {
        cuts: true,
        ..row(what, fault, times, Asked::is_watch)
    };
    let rows = [
        // The longest first.
        row("no answer ever", Fault::Hang, 1, deployment),
        row("409 to writes", Fault::Answer(409), 8, Asked::is_write),
        row("429 with Retry-After", Fault::Answer(429), 8, any),
        row("500 to writes", Fault::Answer(500), 6, Asked::is_write),
        row("503 to everything", Fault::Answer(503), 6, any),
        row("connection cut before", Fault::Cut, 6, any),
        row("answer lost", Fault::LoseAnswer, 6, Asked::is_write),
        of_watches("watch expired (410)", Fault::Expired, 12),
        of_watches("500 to watches", Fault::Answer(500), 6),
    ];
    in_each(&NAMESPACES, rows.into_iter().enumerate(), converges).await;
}

async fn converges(bed: &Bed, (number, row): (usize, Row)) {
    let operator = Operator::start(bed);
    // Nobody collects what a name had for children: each is used once.
    let (what, first, name) = (row.what, format!("first{number}"), format!("next{number}"));
    bed.apply(&first, "a.example.com").await;
    bed.wait_settled(&first, "the start").await;
    let started = Instant::now();
    bed.api.fail(row.fault, 0, row.times, row.matches);
    if row.cuts {
        bed.api.cut_streams();
    }
    bed.apply(&name, "a.example.com").await;
    bed.wait_settled(&name, what).await;
    let (left, took) = (bed.api.heal(), started.elapsed());
    // It still follows what is changed, and what was there before has not suffered.
    bed.apply(&name, "b.example.com").await;
    bed.wait_settled(&name, what).await;
    bed.assert_sound(&first).await;
    println!(
        "{what}: {} times, settled after {took:.1?}",
        row.times - left
    );
    assert_eq!(left, 0, "{what}: not all of it has struck");
    bed.remove(&name).await;
    let before = bed.versions(&first).await.unwrap();
    sleep(Duration::from_secs(8)).await;
    assert_eq!(bed.versions(&first).await.unwrap(), before, "{what}");
    bed.remove(&first).await;
    drop(operator);
}
