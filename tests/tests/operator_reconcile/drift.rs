//! What somebody else has changed.

use kube::{
    ResourceExt as _,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::{
    bed::Bed,
    tools::{CORE, RBAC, children, merge, settled, wait_event},
};

#[tokio::test]
async fn drift_is_put_right() {
    let bed = Bed::new("t-drift").await;
    bed.apply(json!({})).await;
    settled(&bed).await;
    for (group, kind, name) in children(bed.namespace) {
        let uid = bed.api(group, kind).get(&name).await.unwrap().uid();
        bed.api(group, kind)
            .delete(&name, &DeleteParams::default())
            .await
            .unwrap();
        bed.wait_object((group, kind, &name), |found| {
            found.is_some_and(|object| object["metadata"]["uid"].as_str() != uid.as_deref())
        })
        .await;
    }

    let role = format!("oidcproxy:{}:corp", bed.namespace);
    merge(
        &bed,
        (RBAC, "ClusterRole", &role),
        json!({"rules": [
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        ]}),
    )
    .await;
    bed.wait_object((RBAC, "ClusterRole", &role), |found| {
        !found.unwrap()["rules"].to_string().contains("\"*\"")
    })
    .await;

    rebind(&bed, &role).await;
    let taken = json!({"metadata": {"labels": null}});
    merge(&bed, (CORE, "Secret", "corp-ca"), taken).await;
    bed.wait_object((CORE, "Secret", "corp-ca"), |found| {
        found.unwrap()["metadata"]["labels"]["app.kubernetes.io/instance"] == "corp"
    })
    .await;

    let edit =
        json!({"metadata": {"labels": {"team": "mine"}}, "data": {"kubeconfig": "users: [evil]"}});
    merge(&bed, (CORE, "ConfigMap", "corp-kubeconfig"), edit).await;
    let reverted = bed
        .wait_object((CORE, "ConfigMap", "corp-kubeconfig"), |found| {
            !found.unwrap()["data"]["kubeconfig"]
                .as_str()
                .unwrap()
                .contains("evil")
        })
        .await;
    assert_eq!(reverted["metadata"]["labels"]["team"], "mine");
    wait_event(&bed, "KubeconfigReverted").await;
}

/// The same binding, to another role: it can only be deleted and made anew.
async fn rebind(bed: &Bed, name: &str) {
    let target = (RBAC, "ClusterRoleBinding", name);
    let api = bed.api(RBAC, "ClusterRoleBinding");
    let mut rebound = api.get(name).await.unwrap();
    rebound.metadata.resource_version = None;
    rebound.metadata.uid = None;
    rebound.metadata.managed_fields = None;
    rebound.data["roleRef"]["name"] = json!("cluster-admin");
    // The operator is quick to put its own back; sooner or later ours is in between.
    for _ in 0..20 {
        api.delete(name, &DeleteParams::default()).await.ok();
        if api.create(&PostParams::default(), &rebound).await.is_ok() {
            break;
        }
    }
    bed.wait_object(target, |found| {
        found.is_some_and(|binding| binding["roleRef"]["name"] == name)
    })
    .await;
}
