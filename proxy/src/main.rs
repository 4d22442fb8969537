//! `oidc-proxy`.

use std::process::ExitCode;

use clap::Parser as _;
use oidc_proxy::{Args, run};

fn main() -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("oidc-proxy: another TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    run(Args::parse())
}
