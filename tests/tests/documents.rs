//! What the documents tell readers to run.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
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

/// The files of a suite, here or on the cluster.
fn files(suite: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = root.join("tests");
    let file = format!("{suite}.rs");
    let mut files = vec![
        tests.join(&file),
        root.join("../e2e-kind/tests/suite").join(&file),
    ];
    let folder = fs::read_dir(tests.join(suite)).into_iter().flatten();
    files.extend(folder.map(|entry| entry.unwrap().path()));
    files.retain(|file| file.exists());
    files
}

#[test]
fn the_tests_that_a_reader_is_pointed_to_are_there() {
    let document = include_str!("../../docs/kube-oidc-proxy.md");
    let (_, table) = document.split_once("## Its end-to-end suite").unwrap();
    let named: Vec<_> = table
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|word| word.split_once("::"))
        .collect();
    assert!(named.len() > 15, "{named:?}");
    for (suite, name) in named {
        let test = format!("fn {name}(");
        let is_there = |file: &PathBuf| fs::read_to_string(file).unwrap().contains(&test);
        assert!(files(suite).iter().any(is_there), "{suite}::{name}");
    }
}
