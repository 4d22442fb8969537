//! The binary: arguments in, exit code out.

use std::process::ExitCode;

use oidc_proxy_operator::{
    app,
    args::{Args, USAGE},
    telemetry,
};

fn main() -> ExitCode {
    let args = match Args::from_command_line() {
        Ok(args) => args,
        Err(code) => return code,
    };
    if let Err(error) = telemetry::install(&args.log_level, args.log_format) {
        eprintln!("oidc-proxy-operator: {error:#}");
        return ExitCode::from(USAGE);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(app::run(args));
            // What is still under way must not outlive the lease.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
