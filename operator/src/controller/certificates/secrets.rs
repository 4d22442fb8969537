//! The Secrets as they are stored: read, and written by their resource version.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, api::PostParams};

use super::Error;
use crate::{
    controller::{
        apply::{self, foreign},
        identity::{Identity, MANAGER},
    },
    pki::authority::Problem,
};

pub(super) fn value<'a>(secret: &'a Secret, key: &str) -> Result<&'a [u8], Problem> {
    let data = secret.data.as_ref().and_then(|data| data.get(key));
    data.map(|bytes| bytes.0.as_slice())
        .ok_or(Problem::Unreadable)
}

/// The stored Secret, if it is there and ours; with our labels, should somebody have taken them.
pub(super) async fn own(
    api: &Api<Secret>,
    identity: &Identity,
    name: &str,
) -> Result<Option<Secret>, Error> {
    let Some(mut secret) = apply::get(api, name).await? else {
        return Ok(None);
    };
    if !identity.owns(&secret.metadata) {
        return Err(foreign::<Secret>(name).into());
    }
    let labels = secret.metadata.labels.get_or_insert_default();
    let wanted = identity.labels();
    if wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
    {
        return Ok(Some(secret));
    }
    labels.extend(wanted);
    let stored = api
        .replace(name, &PostParams::default(), &secret)
        .await
        .map_err(|source| apply::Error::request::<Secret>("update", name, source))?;
    Ok(Some(stored))
}

pub(super) async fn store(
    api: &Api<Secret>,
    identity: &Identity,
    name: &str,
    stored: Option<Secret>,
    type_: &str,
    data: &[(&str, &str)],
) -> Result<(), Error> {
    let data: BTreeMap<String, ByteString> = data
        .iter()
        .map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec())))
        .collect();
    let mut metadata = identity.child(name);
    let old = stored.as_ref().map(|secret| &secret.metadata);
    metadata.resource_version = old.and_then(|old| old.resource_version.clone());
    metadata.annotations = old.and_then(|old| old.annotations.clone());
    let mut labels = old.and_then(|old| old.labels.clone()).unwrap_or_default();
    labels.extend(identity.labels());
    metadata.labels = Some(labels);
    let secret = Secret {
        metadata,
        type_: Some(type_.to_owned()),
        data: Some(data),
        ..Secret::default()
    };
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let (verb, result) = if stored.is_some() {
        ("update", api.replace(name, &params, &secret).await)
    } else {
        ("create", api.create(&params, &secret).await)
    };
    result.map_err(|source| apply::Error::request::<Secret>(verb, name, source))?;
    Ok(())
}
