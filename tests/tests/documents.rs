//! What the documents tell readers to run.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use oidcproxy_tests::jose::b64;

/// The first shell block after this text.
fn block(document: &'static str, after: &str) -> &'static str {
    let (_, rest) = document.split_once(after).unwrap();
    let (_, rest) = rest.split_once("```sh\n").unwrap();
    rest.split("\n```").next().unwrap()
}

#[test]
fn the_claims_of_any_token_are_shown() {
    let document = include_str!("../../docs/troubleshooting.md");
    let command = block(document, "To see the claims of a token");
    // Every length of padding, and both characters that base64 writes otherwise.
    for claims in [
        r#"{"sub":"jane"}"#,
        r#"{"sub":"jane1"}"#,
        r#"{"sub":"jane12"}"#,
        r#"{"sub":"~~~???>>>","name":"Jürgen ÿÿÿ"}"#,
    ] {
        let token = format!("{}.{}.{}", b64("{}"), b64(claims), b64("signature"));
        let mut shell = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = shell.stdin.take().unwrap();
        input.write_all(format!("{token}\n").as_bytes()).unwrap();
        drop(input);
        let output = shell.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), claims);
    }
}
