//! The operator behind an API server that fails, and operators that die or lose touch half-way.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod backing_off;
mod bed;
mod deaf;
mod deaths;
mod faults;
mod older_definition;
mod operator;
mod orphans;
mod steady;
mod turns;
