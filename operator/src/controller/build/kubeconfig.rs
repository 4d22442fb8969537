//! What users log in with: clusters, contexts and, when asked for, the way to a token. Never a
//! token itself.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::{Published, in_cluster_url};
use crate::controller::{
    identity::labels,
    resolve::{Login, Resolved},
};

/// The ConfigMap's key.
pub(super) const KEY: &str = "kubeconfig";
const IN_CLUSTER: &str = "in-cluster";
const EXTERNAL: &str = "external";
const USER: &str = "oidc";

pub(super) fn build(resolved: &Resolved, published: &Published) -> ConfigMap {
    let identity = &resolved.identity;
    let text = serde_saphyr::to_string(&document(resolved, published)).unwrap_or_default();
    ConfigMap {
        metadata: identity.child(identity.kubeconfig_config_map()),
        data: Some(labels([(KEY, &text)])),
        ..ConfigMap::default()
    }
}

fn document(resolved: &Resolved, published: &Published) -> Value {
    let authority = published.ca_bundle.as_ref().map(|pem| STANDARD.encode(pem));
    let inside = in_cluster_url(resolved);
    let mut servers = Vec::new();
    if published.endpoint != inside {
        servers.push((EXTERNAL, published.endpoint.as_str()));
    }
    servers.push((IN_CLUSTER, inside.as_str()));
    let current = servers.first().map_or(IN_CLUSTER, |(name, _)| *name);
    let user = if resolved.login.is_some() { USER } else { "" };
    let clusters: Vec<Value> = servers
        .iter()
        .map(|(name, server)| {
            let mut cluster = BTreeMap::from([("server", *server)]);
            if let Some(authority) = &authority {
                cluster.insert("certificate-authority-data", authority);
            }
            if *name == IN_CLUSTER && published.server_name != resolved.identity.service_dns() {
                cluster.insert("tls-server-name", &published.server_name);
            }
            json!({"name": name, "cluster": cluster})
        })
        .collect();
    let contexts: Vec<Value> = servers
        .iter()
        .map(|(name, _)| json!({"name": name, "context": {"cluster": name, "user": user}}))
        .collect();
    let users: Vec<Value> = resolved
        .login
        .iter()
        .map(|login| json!({"name": USER, "user": {"exec": exec(login)}}))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": clusters,
        "contexts": contexts,
        "current-context": current,
        "users": users,
    })
}

/// kubelogin, as a plugin of kubectl.
fn exec(login: &Login) -> Value {
    let mut args = vec![
        "oidc-login".to_owned(),
        "get-token".to_owned(),
        format!("--oidc-issuer-url={}", login.issuer_url),
        format!("--oidc-client-id={}", login.client_id),
    ];
    args.extend(
        login
            .extra_scopes
            .iter()
            .map(|scope| format!("--oidc-extra-scope={scope}")),
    );
    if let Some(authority) = &login.certificate_authority {
        args.push(format!(
            "--certificate-authority-data={}",
            STANDARD.encode(authority)
        ));
    }
    json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "kubectl",
        "args": args,
        "interactiveMode": "IfAvailable",
        "provideClusterInfo": false,
    })
}

#[cfg(test)]
mod tests {
    use kube::config::Kubeconfig;

    use super::*;
    use crate::controller::resolve::tests::resolved;

    fn built(spec: Value, endpoint: &str) -> (String, Kubeconfig) {
        let published = Published {
            ca_bundle: Some("PEM\n".into()),
            endpoint: endpoint.into(),
            server_name: "corp.auth.svc".into(),
            account_uid: String::new(),
        };
        let map = build(&resolved(spec), &published);
        assert_eq!(map.metadata.name.as_deref(), Some("corp-kubeconfig"));
        let text = map.data.unwrap().remove("kubeconfig").unwrap();
        let parsed = Kubeconfig::from_yaml(&text).unwrap();
        (text, parsed)
    }

    #[test]
    fn without_a_login_there_are_clusters_and_contexts_only() {
        let (text, config) = built(json!({}), "https://k8s.example.com");
        assert_eq!(config.current_context.as_deref(), Some("external"));
        let servers: Vec<_> = config
            .clusters
            .iter()
            .map(|cluster| cluster.cluster.as_ref().unwrap().server.clone().unwrap())
            .collect();
        assert_eq!(
            servers,
            ["https://k8s.example.com", "https://corp.auth.svc"]
        );
        assert!(config.auth_infos.is_empty());
        assert!(!text.contains("token"));
        assert!(text.contains("certificate-authority-data"));
    }

    #[test]
    fn without_an_outside_address_the_inside_one_is_current() {
        let (_, config) = built(
            json!({"service": {"port": 8443}}),
            "https://corp.auth.svc:8443",
        );
        assert_eq!(config.current_context.as_deref(), Some("in-cluster"));
        assert_eq!(config.contexts.len(), 1);
    }

    #[test]
    fn a_login_is_kubelogin() {
        let spec = json!({"kubeconfig": {"issuer": "corp", "clientID": "kubernetes", "extraScopes": ["groups"]}});
        let (text, config) = built(spec, "https://k8s.example.com");
        let exec = config.auth_infos[0]
            .auth_info
            .as_ref()
            .unwrap()
            .exec
            .as_ref()
            .unwrap();
        assert_eq!(exec.command.as_deref(), Some("kubectl"));
        assert_eq!(
            exec.args.as_ref().unwrap()[..],
            [
                "oidc-login",
                "get-token",
                "--oidc-issuer-url=https://id.example.com/realms/corp",
                "--oidc-client-id=kubernetes",
                "--oidc-extra-scope=groups",
            ]
        );
        assert!(text.contains("user: oidc"));
    }

    #[test]
    fn a_public_authority_and_a_certificate_for_another_name() {
        let published = Published {
            ca_bundle: None,
            endpoint: "https://k8s.example.com".into(),
            server_name: "k8s.example.com".into(),
            account_uid: String::new(),
        };
        let map = build(&resolved(json!({})), &published);
        let text = map.data.unwrap().remove("kubeconfig").unwrap();
        assert!(!text.contains("certificate-authority-data"));
        let parsed = Kubeconfig::from_yaml(&text).unwrap();
        let names: Vec<_> = parsed
            .clusters
            .iter()
            .map(|cluster| cluster.cluster.as_ref().unwrap().tls_server_name.as_deref())
            .collect();
        assert_eq!(names, [None, Some("k8s.example.com")]);
    }
}
