//! Lines are ours alone, and belong to what kube-apiserver writes of the same request.

use oidcproxy_tests::{
    bed::Bed,
    client::{Call, Protocol},
};

use super::{bed, line, lines_of};

#[tokio::test]
async fn nothing_forges_a_line() {
    let bed = bed().await;
    let names = [
        "ja\"ne\u{85}",
        "a\",\"decision\":\"AuSuccess",
        "line\u{2028}end",
        "turn\u{202e}round",
    ];
    for (n, name) in names.into_iter().enumerate() {
        let path = format!("/forge?n={n}");
        let call = Call::get(&path)
            .bearer(&bed.token(name, &[name]))
            .header("user-agent", "a\"}\t{\"event\":\"completed\"");
        bed.send(Protocol::H1, call).await.assert_status(200);
        line(&bed, "completed", &path).await;
        let found = lines_of(&bed, &path);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0]["decision"], "AuSuccess");
        assert_eq!(found[0]["user"]["username"], name);
        assert_eq!(found[0]["user"]["groups"][0], name);
    }
    for line in bed.proxy.access_lines() {
        let odd = |c: char| c.is_control() || "\u{2028}\u{2029}\u{202e}".contains(c);
        assert!(!line.chars().any(odd), "{line:?}");
    }
}

#[tokio::test]
async fn one_audit_id_from_end_to_end() {
    for format in ["json", "classic"] {
        let bed = Bed::with(|setup, _| setup.flag(format!("--log-format={format}"))).await;
        let token = bed.token("jane", &[]);
        let given = "0a1b2c3d-0000-4000-8000-000000000001";
        let call = Call::get("/given").bearer(&token).header("audit-id", given);
        let reply = bed.send(Protocol::H2, call).await;
        assert_eq!(reply.header("audit-id"), Some(given));
        let call = Call::get("/odd")
            .bearer(&token)
            .header("audit-id", "a b\"c");
        let reply = bed.send(Protocol::H1, call).await;
        let made = reply.header("audit-id").unwrap().to_owned();
        assert_eq!(made.len(), 36);
        let refused = bed.send(Protocol::H1, Call::get("/no")).await;
        assert!(refused.header("audit-id").is_some());
        let upstream: Vec<_> = bed
            .api
            .forwarded()
            .iter()
            .map(|request| request.value("audit-id").unwrap())
            .collect();
        assert_eq!(upstream, [given, &made]);
    }
}
