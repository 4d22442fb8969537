//! `kubectl --as`.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod requests;
mod reviews;

use oidcproxy_tests::{
    bed::Bed,
    client::{Call, Protocol, Reply},
};
use serde_json::Value;

const PODS: &str = "/api/v1/pods";

/// A request of alice in dev with these headers besides.
async fn send(bed: &Bed, protocol: Protocol, headers: &[(&str, &str)]) -> Reply {
    let call = Call::get(PODS).bearer(&bed.token("alice", &["dev"]));
    let call = headers
        .iter()
        .fold(call, |call, (name, value)| call.header(name, value));
    bed.send(protocol, call).await
}

/// The attributes of each review, without members that are empty.
fn reviewed(bed: &Bed) -> Vec<Value> {
    let asked = bed.api.reviews().asked();
    let mut reviews: Vec<Value> = asked
        .iter()
        .map(|spec| {
            let mut attributes = spec["resourceAttributes"].as_object().unwrap().clone();
            attributes.retain(|name, value| value != "" && name != "version");
            Value::Object(attributes)
        })
        .collect();
    reviews.sort_by_key(ToString::to_string);
    reviews
}
