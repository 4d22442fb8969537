//! Flags that are wrong end the start.

use oidcproxy_tests::bed::Bed;

use super::{EVERYTHING, Files, policy};

#[tokio::test]
async fn wrong_flags_end_the_start_with_one_line() {
    let files = Files::with_policy("- level: Everything");
    files.write("good.yaml", &policy(EVERYTHING));
    files.write("exec.yaml", "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{name: a, cluster: {server: 'https://127.0.0.1'}}]\nusers: [{name: a, user: {exec: {apiVersion: v1, command: x}}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n");
    let good = files.flag("policy-file", "good.yaml");
    for (flags, message) in [
        (vec![good.clone()], "--audit-policy-file needs"),
        (
            vec!["--audit-log-path=-".to_owned()],
            "need --audit-policy-file",
        ),
        (
            vec![
                files.flag("policy-file", "policy.yaml"),
                "--audit-log-path=-".to_owned(),
            ],
            "--audit-policy-file: rules[0].level: must be",
        ),
        (
            vec![
                files.flag("policy-file", "none.yaml"),
                "--audit-log-path=-".to_owned(),
            ],
            "--audit-policy-file: cannot read",
        ),
        (
            vec![
                good.clone(),
                "--audit-log-path=/proc/none/audit.log".to_owned(),
            ],
            "--audit-log-path: cannot write",
        ),
        (
            vec![good.clone(), files.flag("webhook-config-file", "none.yaml")],
            "--audit-webhook-config-file: ",
        ),
        (
            vec![good, files.flag("webhook-config-file", "exec.yaml")],
            "exec, auth-provider and basic authentication are not supported",
        ),
    ] {
        let started = Bed::try_with(|setup, _| {
            flags
                .iter()
                .fold(setup, |setup, flag| setup.flag(flag.clone()))
        })
        .await;
        let error = format!("{:#}", started.err().expect("it should not start"));
        assert!(error.contains(message), "{message}: {error}");
    }
}
