//! The operator's own log.

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt};

/// The format of the log.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// Installs the process's log.
pub fn install(level: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = filter(level)?;
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|error| anyhow::anyhow!("cannot install the log: {error}"))
}

/// A level that is none would be the name of a part of the process, and silence all others.
fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    for directive in level.split(',').filter(|text| !text.contains('=')) {
        ensure!(
            directive.parse::<LevelFilter>().is_ok(),
            "--log-level: {directive:?} is none of error, warn, info, debug and trace"
        );
    }
    EnvFilter::try_new(level).context("--log-level")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_levels_and_directives_are_taken() {
        for fine in [
            "info",
            "debug",
            "off",
            "info,kube=debug",
            "kube_client=warn",
        ] {
            assert!(filter(fine).is_ok(), "{fine}");
        }
        for wrong in ["loud", "info,loud", "kube=loud"] {
            let error = filter(wrong).unwrap_err();
            assert!(error.to_string().starts_with("--log-level"), "{error}");
        }
    }
}
