//! The operator over a real kube-apiserver, with the chart's rights: there are no nodes, so what
//! is seen is what it writes.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod admission;
mod bed;
mod certificates;
mod children;
mod conflicts;
mod drift;
mod gitops;
mod maximal;
mod missing;
mod optional;
mod specs;
mod tools;
