//! Operators that die in the middle of a change, a renewal or a farewell: the next one finishes it.

use std::{
    ops::AsyncFn,
    time::{Duration, Instant},
};

use k8s_openapi::{ByteString, jiff::Timestamp};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use oidc_proxy_operator::pki::authority::Authority;
use oidcproxy_tests::faulty_api::{Asked, Fault};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::{
    bed::{Bed, KIND, RBAC, SOON, in_each},
    operator::Operator,
};

const NAMESPACES: [&str; 4] = ["f-death-0", "f-death-1", "f-death-2", "f-death-3"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_die_at_every_write() {
    // How many writes there are is seen first.
    let bed = Bed::new(NAMESPACES[0]).await;
    let operator = Operator::start(&bed);
    bed.apply("whole", "a.example.com").await;
    bed.wait_settled("whole", "without a fault").await;
    let seen = bed.api.seen();
    let writes = seen.iter().filter(|asked| asked.is_write()).count();
    bed.remove("whole").await;
    drop(operator);
    assert!((15..40).contains(&writes), "{writes}");

    let die = async |bed: &Bed, step: usize| {
        let name = format!("k{step}");
        let after = step.is_multiple_of(2);
        bed.api.fail(Fault::Die(after), step, 1, Asked::is_write);
        let operator = Operator::start(bed);
        bed.apply(&name, "a.example.com").await;
        // The last steps may not come: a pass that is quicker needs fewer.
        let died = timeout(Duration::from_secs(20), bed.api.died()).await;
        drop(operator);
        bed.api.heal();
        let started = Instant::now();
        let operator = Operator::start(bed);
        bed.wait_settled(&name, &format!("killed at write {step}"))
            .await;
        let when = if after { "after" } else { "before" };
        let struck = if died.is_ok() {
            "struck"
        } else {
            "not reached"
        };
        let settled = started.elapsed();
        println!("killed {when} write {step} ({struck}): settled after {settled:.1?}");
        assert!(died.is_ok() || step + 3 > writes, "write {step}");
        bed.remove(&name).await;
        drop(operator);
    };
    in_each(&NAMESPACES, 0..writes, die).await;
}

/// Kills an operator at the first write that `act` leads to, another at the second and so on, until
/// one lives to its end. `check` waits for the next operator to have finished what was begun.
async fn at_every_write(
    bed: &Bed,
    what: &str,
    act: impl AsyncFn(usize),
    check: impl AsyncFn(usize),
) -> usize {
    for step in 0..40_usize {
        let operator = Operator::start(bed);
        // Its first looks are over, and it is the act that it dies of.
        let params = ListParams::default();
        let known = bed.proxies().list(&params).await.unwrap().items.len();
        while operator.passes() < known as u64 {
            sleep(Duration::from_millis(50)).await;
        }
        let fault = Fault::Die(step.is_multiple_of(2));
        bed.api.fail(fault, step, 1, Asked::is_write);
        act(step).await;
        let lived = async {
            check(step).await;
            // What comes after that comes in the same pass, or in the next one.
            sleep(Duration::from_secs(3)).await;
        };
        let died = tokio::select! {
            () = bed.api.died() => true,
            () = lived => false,
        };
        drop(operator);
        bed.api.heal();
        let operator = Operator::start(bed);
        let started = Instant::now();
        check(step).await;
        drop(operator);
        if !died {
            println!("{what}: {step} writes");
            return step;
        }
        println!(
            "{what}: killed at write {step}, finished after {:.1?}",
            started.elapsed()
        );
    }
    panic!("{what}: no end of writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_die_at_every_write_of_a_change() {
    let bed = Bed::new("f-change").await;
    let operator = Operator::start(&bed);
    bed.apply("changing", "z.example.com").await;
    bed.wait_settled("changing", "at first").await;
    drop(operator);
    // With what is asked for beside, and without.
    let is_rich = |step: usize| step % 2 == 1;
    let act = async |step: usize| {
        let serving = json!({"hostnames": [format!("s{step}.example.com")]});
        let spec = if is_rich(step) {
            json!({"serving": serving, "exposure": {"ingress": {"annotations": {"example.com/passthrough": "true"}}}})
        } else {
            json!({"serving": serving, "deployment": {"replicas": 1}, "networkPolicy": {"mode": "Disabled"}})
        };
        bed.apply_spec("changing", &spec, false).await.unwrap();
    };
    let check = async |step: usize| {
        let endpoint = format!("https://s{step}.example.com");
        bed.wait_condition("changing", "Ready", "False", "DeploymentProgressing")
            .await;
        let deadline = Instant::now() + SOON;
        loop {
            let found = bed.objects(KIND.0, KIND.1).get("changing").await.unwrap();
            let mut there = Vec::new();
            for (group, kind) in [
                ("policy/v1", "PodDisruptionBudget"),
                ("networking.k8s.io/v1", "NetworkPolicy"),
                ("networking.k8s.io/v1", "Ingress"),
            ] {
                there.push(bed.is_there(group, kind, "changing").await);
            }
            if found.data["status"]["endpoint"] == endpoint && there == [is_rich(step); 3] {
                break;
            }
            assert!(Instant::now() < deadline, "{step}: {there:?}");
            sleep(Duration::from_millis(200)).await;
        }
        bed.assert_sound("changing").await;
    };
    let writes = at_every_write(&bed, "a change", act, check).await;
    assert!(writes >= 4, "{writes}");
    let operator = Operator::start(&bed);
    bed.remove("changing").await;
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_die_at_every_write_of_a_new_root() {
    let bed = Bed::new("f-root").await;
    let operator = Operator::start(&bed);
    bed.apply("rooted", "a.example.com").await;
    bed.wait_settled("rooted", "at first").await;
    drop(operator);
    let year = Duration::from_hours(24 * 365);
    let secrets: Api<k8s_openapi::api::core::v1::Secret> =
        Api::namespaced(bed.admin.clone(), bed.namespace);
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let old = std::cell::RefCell::new(String::new());
    let act = async |_| {
        // A root of ten years, more than nine years ago.
        let born = Timestamp::now() - year * 9 - year / 4;
        let aged = Authority::create("rooted.f-root", 10 * year, born).unwrap();
        let data = json!({"data": {
            "ca.crt": bytes(aged.pem()), "ca.key": bytes(aged.key_pem()), "previous.crt": null, "cross.crt": null,
        }});
        old.replace(aged.pem().to_owned());
        let params = PatchParams::default();
        secrets
            .patch("rooted-ca", &params, &Patch::Merge(&data))
            .await
            .unwrap();
    };
    let check = async |step: usize| {
        let deadline = Instant::now() + SOON;
        loop {
            let data = secrets.get("rooted-ca").await.unwrap().data.unwrap();
            let text = |key: &str| {
                let bytes = data.get(key).map(|bytes| bytes.0.clone());
                String::from_utf8(bytes.unwrap_or_default()).unwrap()
            };
            let bundle = format!("{}{}", text("ca.crt"), text("previous.crt"));
            let status = bed.proxies().get("rooted").await.unwrap().status.unwrap();
            let maps = bed.objects("v1", "ConfigMap");
            let trust = maps.get("rooted-trust").await.unwrap().data["data"]["ca.crt"].clone();
            // Renewed once, never replaced: whoever trusts the old one goes on.
            if text("previous.crt") == *old.borrow()
                && status.ca_bundle.as_deref() == Some(bundle.as_str())
                && trust == bundle
            {
                break;
            }
            assert!(Instant::now() < deadline, "{step}");
            sleep(Duration::from_millis(200)).await;
        }
    };
    let writes = at_every_write(&bed, "a new root", act, check).await;
    assert!(writes >= 3, "{writes}");
    let operator = Operator::start(&bed);
    bed.remove("rooted").await;
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_die_at_every_write_of_a_farewell() {
    let bed = Bed::new("f-farewell").await;
    let operator = Operator::start(&bed);
    let names: Vec<String> = (0..6).map(|step| format!("leaving{step}")).collect();
    for name in &names {
        bed.apply(name, "a.example.com").await;
    }
    for name in &names {
        bed.wait_settled(name, "at first").await;
    }
    drop(operator);
    let act = async |step: usize| {
        let proxies = bed.objects(KIND.0, KIND.1);
        let params = DeleteParams::default();
        proxies.delete(&names[step], &params).await.unwrap();
    };
    let check = async |step: usize| {
        bed.wait_gone(KIND, &names[step]).await;
        for kind in ["ClusterRoleBinding", "ClusterRole"] {
            bed.wait_gone((RBAC, kind), &bed.cluster_role(&names[step]))
                .await;
        }
    };
    let writes = at_every_write(&bed, "a farewell", act, check).await;
    assert_eq!(writes, 3, "the binding, the role, the finalizer");
    let operator = Operator::start(&bed);
    for name in &names[writes + 1..] {
        bed.remove(name).await;
    }
    drop(operator);
}
