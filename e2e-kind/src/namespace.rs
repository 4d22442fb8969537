//! A namespace of a test's own, which shows its state when the test fails and is deleted after.

use oidcproxy_tests::jose::random_hex;
use serde_json::json;

use crate::client::Client;

/// A namespace for one test.
#[derive(Debug)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    admin: Client,
}

impl Namespace {
    /// A new one, in which Pod Security enforces `restricted`: the proxy's pods must not need more.
    pub fn new(admin: &Client) -> Self {
        let name = format!("e2e-{}", random_hex(4));
        let test = std::thread::current()
            .name()
            .unwrap_or("main")
            .replace("::", ".");
        let document = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {
                "name": name,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
                "annotations": {"oidcproxy.dev/test": test},
            },
        });
        let output = admin.apply(&document);
        assert_eq!(output.code, Some(0), "{output}");
        Self {
            name,
            admin: admin.clone(),
        }
    }

    fn show(&self) {
        let name = self.name.as_str();
        for arguments in [
            &["-n", name, "get", "oidcproxy", "-o", "yaml"][..],
            &["-n", name, "get", "pods", "-o", "wide"],
            &["-n", name, "get", "events", "--sort-by=.lastTimestamp"],
            &[
                "-n",
                name,
                "logs",
                "-l",
                "app.kubernetes.io/component=proxy",
                "--tail=30",
                "--prefix",
            ],
        ] {
            eprintln!("{}", self.admin.run(arguments));
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
        let name = self.name.as_str();
        self.admin
            .run(&["-n", name, "delete", "oidcproxy", "--all", "--wait=false"]);
        self.admin
            .run(&["delete", "namespace", name, "--wait=false"]);
    }
}
