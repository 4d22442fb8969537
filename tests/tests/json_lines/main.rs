//! Access lines in the JSON format: what happened to a request, and how it ended.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod forgery;
mod requests;
mod streams;

use oidcproxy_tests::bed::Bed;
use serde_json::Value;

async fn bed() -> Bed {
    Bed::with(|setup, _| setup.flag("--log-format=json").flag("--drain-delay=0")).await
}

/// The first line of this event that speaks of this path.
async fn line(bed: &Bed, event: &str, path: &str) -> Value {
    let wanted = format!("\"requestURI\":\"{path}\"");
    let event = format!("\"event\":\"{event}\"");
    let lines = &bed.proxy.process.stdout;
    let line = lines
        .wait(path, |line| line.contains(&event) && line.contains(&wanted))
        .await
        .unwrap_or_else(|error| panic!("{error:#}"));
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn lines_of(bed: &Bed, path: &str) -> Vec<Value> {
    let lines = bed.proxy.access_lines();
    let mut lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    lines.retain(|line| line["requestURI"] == path);
    lines
}

/// Takes out what differs each time, after looking at it.
#[track_caller]
fn settled(mut line: Value) -> Value {
    let fields = line.as_object_mut().unwrap();
    let time = fields.remove("time").unwrap();
    let time = time.as_str().unwrap();
    assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
    let id = fields.remove("auditID").unwrap();
    assert_eq!(id.as_str().unwrap().len(), 36, "{id}");
    if let Some(seconds) = fields.remove("durationSeconds") {
        assert!(seconds.as_f64().unwrap() < 60.0, "{seconds}");
    }
    line
}
