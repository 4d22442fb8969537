//! Audit events of `audit.k8s.io/v1`: what is recorded, where it goes, and what happens when it
//! cannot go there.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod events;
mod flags;
mod log_file;
mod webhook;

use std::{path::PathBuf, time::Duration};

use oidcproxy_tests::bed::Bed;
use tempfile::TempDir;
use tokio::time::Instant;

const EVERYTHING: &str = "- level: Metadata";

/// Files beside the proxy's own.
struct Files(TempDir);

impl Files {
    fn with_policy(rules: &str) -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        this.write("policy.yaml", &policy(rules));
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn flag(&self, flag: &str, name: &str) -> String {
        format!("--audit-{flag}={}", self.path(name).display())
    }
}

fn policy(rules: &str) -> String {
    format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}\n")
}

fn is_event(line: &str) -> bool {
    line.contains("\"kind\":\"Event\"")
}

/// Waits until something is lost, and says how much.
async fn lost(bed: &Bed, labels: &str) -> u64 {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let metrics = bed.proxy.probe("/metrics").await.unwrap();
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        let name = format!("oidc_proxy_audit_events_lost_total{{{labels}}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&name));
        if let Some(value) = value.filter(|value| *value != "0") {
            return value.parse().unwrap();
        }
        assert!(Instant::now() < deadline, "{text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
