//! The operator's own certificates: pure functions over PEM and a clock.

pub mod authority;
pub mod leaf;
pub mod pem;
pub mod provided;
pub mod renewal;
pub mod succession;
