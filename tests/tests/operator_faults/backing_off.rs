//! What fails for good is tried less and less, wherever in a pass it is.

use std::time::{Duration, Instant};

use http::Method;
use kube::api::DeleteParams;
use oidcproxy_tests::faulty_api::{Asked, Fault};
use tokio::time::sleep;

use crate::{
    bed::{Bed, KIND},
    operator::Operator,
};

const NAMESPACE: &str = "f-back-off";

type Row = (&'static str, u16, fn(&Asked, &str) -> bool);

fn proxy(name: &str) -> String {
    format!("/namespaces/{NAMESPACE}/oidcproxies/{name}?")
}

fn is_finalizer(asked: &Asked, name: &str) -> bool {
    asked.method == Method::PATCH && asked.target.contains(&proxy(name))
}

fn is_status(asked: &Asked, name: &str) -> bool {
    asked
        .target
        .contains(&format!("/oidcproxies/{name}/status"))
}

fn is_role(asked: &Asked, name: &str) -> bool {
    asked.method == Method::DELETE
        && asked.target.contains("/clusterroles/")
        && asked.target.contains(name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_for_good_is_tried_less_and_less() {
    let bed = Bed::new(NAMESPACE).await;
    let operator = Operator::start(&bed);
    let rows: [Row; 5] = [
        ("b-finalizer", 403, is_finalizer),
        ("b-status", 500, is_status),
        ("b-forbidden", 403, is_status),
        ("b-conflict", 409, is_status),
        ("b-leaving", 500, is_role),
    ];
    bed.apply("b-leaving", "a.example.com").await;
    bed.wait_settled("b-leaving", "before").await;
    for (name, code, matches) in rows {
        let fault = Fault::Answer(code);
        let rule = move |asked: &Asked| matches(asked, name);
        bed.api.fail(fault, 0, 1_000_000, rule);
        if name == "b-leaving" {
            let proxies = bed.objects(KIND.0, KIND.1);
            proxies
                .delete(name, &DeleteParams::default())
                .await
                .unwrap();
        } else {
            bed.apply(name, "a.example.com").await;
        }
    }
    sleep(Duration::from_secs(20)).await;
    let from = Instant::now();
    sleep(Duration::from_secs(30)).await;
    let seen = bed.api.seen();
    for (name, code, matches) in rows {
        let tries = seen.iter().filter(|asked| matches(asked, name));
        let late = tries.clone().filter(|asked| asked.at >= from).count();
        println!(
            "{name} ({code}): {} tries, {late} of them late",
            tries.count()
        );
        assert!((1..=4).contains(&late), "{name}: {late} tries in 30 s");
    }
    bed.api.heal();
    bed.wait_gone(KIND, "b-leaving").await;
    for (name, ..) in rows.iter().filter(|row| row.0 != "b-leaving") {
        bed.wait_settled(name, "healed").await;
        bed.remove(name).await;
    }
    drop(operator);
}
