//! A plain client of other people's servers: JSON and forms over HTTPS.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use url::form_urlencoded;

use crate::{client::Reply, tls::client_config};

/// Longer than a server needs that shares a busy machine with its tests.
const PATIENCE: Duration = Duration::from_mins(1);

/// Trusts the roots it was given and keeps connections.
#[derive(Clone)]
pub struct WebClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl WebClient {
    /// Trusting `roots` (PEM).
    pub fn new(roots: &str) -> Result<Self> {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(client_config(roots, &[])?)
            .https_only()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client })
    }

    /// `GET`; anything but 200 is an error.
    pub async fn get(&self, url: &str) -> Result<Value> {
        let reply = self.send(Request::get(url).body(Full::default())?).await?;
        ensure!(reply.status == 200, "{url}: {reply:?}");
        Ok(reply.json())
    }

    /// `POST` of a form; anything but 200 is an error.
    pub async fn post_form(&self, url: &str, fields: &[(&str, &str)]) -> Result<Value> {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = Request::post(url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form))?;
        let reply = self.send(request).await?;
        ensure!(reply.status == 200, "{url}: {reply:?}");
        Ok(reply.json())
    }

    /// Any request with a JSON body (`null`: none) and a bearer token (empty: none); anything but 2xx is an error.
    pub async fn call(
        &self,
        method: Method,
        url: &str,
        bearer: &str,
        body: &Value,
    ) -> Result<Reply> {
        let mut request = Request::builder().method(method).uri(url);
        if !bearer.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        }
        let body = if body.is_null() {
            Full::default()
        } else {
            request = request.header(header::CONTENT_TYPE, "application/json");
            Full::from(body.to_string())
        };
        let reply = self.send(request.body(body)?).await?;
        ensure!((200..300).contains(&reply.status), "{url}: {reply:?}");
        Ok(reply)
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Reply> {
        let exchange = async {
            let (parts, body) = self.client.request(request).await?.into_parts();
            Ok::<_, anyhow::Error>(Reply {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body: body.collect().await?.to_bytes(),
            })
        };
        tokio::time::timeout(PATIENCE, exchange)
            .await
            .context("no response in time")?
    }
}
