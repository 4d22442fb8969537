//! What the standard environment variables say, as far as the SDK does not read them itself: it
//! knows of samplers, queues and resources, but not of the way to the collector.

use std::{path::PathBuf, time::Duration};

use url::Url;

/// As OTLP has it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What of the environment cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvironmentError {
    /// Neither `otlp` nor `none`.
    #[error("OTEL_TRACES_EXPORTER: {0:?} is neither otlp nor none")]
    Exporter(String),
    /// Another protocol than the one we speak.
    #[error("OTEL_EXPORTER_OTLP_PROTOCOL: {0:?} is not http/protobuf")]
    Protocol(String),
    /// No address.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT: {0:?} is not an http or https URL")]
    Endpoint(String),
    /// No number of milliseconds.
    #[error("OTEL_EXPORTER_OTLP_TIMEOUT: {0:?} is not a number of milliseconds")]
    Timeout(String),
}

/// The way to a collector.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Way {
    /// Authorities to trust instead of the system's, PEM.
    pub(super) certificate: Option<PathBuf>,
    /// For one batch.
    pub(super) timeout: Duration,
}

impl Way {
    /// None where no collector is named, or traces are turned off.
    pub(super) fn of(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, EnvironmentError> {
        // To OpenTelemetry an empty variable is one that is not set.
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        // What is for traces goes before what is for every signal.
        let otlp = |name: &str| {
            set(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
                .or_else(|| set(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        if set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        match set("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(other) => return Err(EnvironmentError::Exporter(other.to_owned())),
        }
        let Some(endpoint) = otlp("ENDPOINT") else {
            return Ok(None);
        };
        let is_web = Url::parse(&endpoint)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !is_web {
            return Err(EnvironmentError::Endpoint(endpoint));
        }
        match otlp("PROTOCOL") {
            Some(other) if other != "http/protobuf" => {
                return Err(EnvironmentError::Protocol(other));
            }
            _ => {}
        }
        let timeout = match otlp("TIMEOUT") {
            None => TIMEOUT,
            Some(text) => match text.parse() {
                Ok(milliseconds) => Duration::from_millis(milliseconds),
                Err(_) => return Err(EnvironmentError::Timeout(text)),
            },
        };
        Ok(Some(Self {
            certificate: otlp("CERTIFICATE").map(PathBuf::from),
            timeout,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Way>, String> {
        Way::of(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
        .map_err(|error| error.to_string())
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    #[test]
    fn without_a_collector_there_are_no_traces() {
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), Ok(None));
        assert_eq!(of(&[("OTEL_TRACES_SAMPLER", "always_on")]), Ok(None));
        assert_eq!(of(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]), Ok(None));
        assert_eq!(of(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        assert!(of(&[ENDPOINT]).unwrap().is_some());
        let for_traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c/v1/traces");
        assert!(of(&[for_traces]).unwrap().is_some());
    }

    #[test]
    fn what_is_for_traces_goes_before_what_is_for_all() {
        let way = of(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2000"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.crt"),
        ]);
        let expected = Way {
            certificate: Some(PathBuf::from("/ca.crt")),
            timeout: Duration::from_secs(2),
        };
        assert_eq!(way, Ok(Some(expected)));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (wrong, named) in [
            (
                ("OTEL_TRACES_EXPORTER", "zipkin"),
                "OTEL_TRACES_EXPORTER: \"zipkin\" is neither otlp nor none",
            ),
            (
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                "OTEL_EXPORTER_OTLP_PROTOCOL: \"grpc\" is not http/protobuf",
            ),
            (
                ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318"),
                "OTEL_EXPORTER_OTLP_ENDPOINT: \"collector:4318\" is not an http or https URL",
            ),
            (
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
                "OTEL_EXPORTER_OTLP_TIMEOUT: \"10s\" is not a number of milliseconds",
            ),
        ] {
            assert_eq!(of(&[wrong, ENDPOINT]), Err(named.to_owned()));
        }
    }
}
