//! Certificates that are renewed while the proxy runs.

use std::time::Duration;

use oidcproxy_tests::{
    bed::Bed,
    client::{Call, Protocol},
    tls::TestCa,
};
use serde_json::json;
use tokio::time::Instant;

const PODS: &str = "/api/v1/pods";

#[tokio::test]
async fn the_authority_of_a_kubeconfigs_file_is_read_again() {
    let bed = Bed::with(|setup, _| setup.authority_file()).await;
    bed.api
        .reviews()
        .allow_impersonate("alice", "", "users", "bob");
    let token = bed.token("alice", &[]);
    bed.get_with(Protocol::H1, &token).await.assert_status(200);

    let ca = TestCa::new("next API server CA").unwrap();
    bed.api.reissue(&ca).unwrap();
    bed.get_with(Protocol::H1, &token).await.assert_refusal(503);
    bed.proxy.replace("ca.crt", &ca.pem()).unwrap();

    // It is read once a minute at most.
    let deadline = Instant::now() + Duration::from_secs(75);
    while bed.get_with(Protocol::H1, &token).await.status != 200 {
        assert!(Instant::now() < deadline, "the new authority is not read");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // What the proxy asks as itself goes the same way.
    let call = Call::get(PODS).bearer(&token);
    let call = call.header("impersonate-user", "bob");
    bed.send(Protocol::H1, call).await.assert_status(200);
}

#[tokio::test]
async fn a_client_certificate_of_files_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let ca = TestCa::new("clients").unwrap();
    let (certificate, key) = (folder.path().join("c.crt"), folder.path().join("c.key"));
    let write = |leaf: &oidcproxy_tests::tls::Leaf| {
        std::fs::write(&key, &leaf.key_pem).unwrap();
        std::fs::write(&certificate, &leaf.cert_pem).unwrap();
    };
    let first = ca.client("proxy", &[]).unwrap();
    write(&first);
    let user = json!({"client-certificate": certificate, "client-key": key});
    let bed = Bed::with(|setup, _| setup.kubeconfig_user(user)).await;
    bed.api.ask_for_certificates(&ca.pem()).unwrap();
    bed.api
        .reviews()
        .allow_impersonate("alice", "", "users", "bob");
    let token = bed.token("alice", &[]);
    let shown = || {
        let request = bed.api.requests().pop().unwrap();
        bed.api.connection(request.connection).client_certificate
    };
    bed.get_with(Protocol::H1, &token).await.assert_status(200);
    assert_eq!(shown().as_deref(), Some(first.der()));

    let second = ca.client("proxy", &[]).unwrap();
    write(&second);
    let deadline = Instant::now() + Duration::from_secs(10);
    while shown().as_deref() != Some(second.der()) {
        assert!(Instant::now() < deadline, "the new certificate is not read");
        tokio::time::sleep(Duration::from_millis(200)).await;
        // Connections that are open go on with the certificate that they began with.
        bed.api.cut();
        tokio::time::sleep(Duration::from_millis(100)).await;
        bed.get_with(Protocol::H1, &token).await.assert_status(200);
    }
    let call = Call::get(PODS).bearer(&token);
    let call = call.header("impersonate-user", "bob");
    bed.send(Protocol::H1, call).await.assert_status(200);
    let requests = bed.api.requests();
    let is_review = |target: &str| target.contains("/subjectaccessreviews");
    let review = requests.iter().find(|request| is_review(&request.target));
    let state = bed.api.connection(review.unwrap().connection);
    assert_eq!(state.client_certificate.as_deref(), Some(second.der()));
}
