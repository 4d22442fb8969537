//! `oidc-proxy`.

use std::process::ExitCode;

use oidc_proxy::{Args, run};

fn main() -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("oidc-proxy: another TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    match Args::from_command_line() {
        Ok(args) => run(args),
        Err(code) => code,
    }
}
