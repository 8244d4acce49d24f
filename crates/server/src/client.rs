//! A small client of the native API: for `otaru token`, `simulate` and the demo, which use nothing an operator could
//! not.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use otaru_fleet::{Endpoint, TlsTrust};
use serde_json::Value;

/// How long an answer may take. A campaign over many devices is made in the background, so that nothing takes
/// long on a server that is well.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest answer: a page of a thousand deployments is some 500 KB.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Where the API is and who asks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ApiClient {
    endpoint: Endpoint,
    authority: Arc<str>,
    bearer: HeaderValue,
    patience: Duration,
}

/// The server's answer outside 2xx.
#[derive(Debug, thiserror::Error)]
#[error("{method} {path} was answered {status}: {message}")]
pub(crate) struct Refused {
    method: Method,
    path: String,
    pub(crate) status: StatusCode,
    message: String,
}

impl ApiClient {
    /// For the server at `url`. For https, `trust` says whose certificates are taken.
    pub(crate) fn new(url: &str, token: &str, trust: Option<&TlsTrust>) -> anyhow::Result<ApiClient> {
        let not_a_url =
            || anyhow::anyhow!("{url:?} is no server; an address such as http://127.0.0.1:8080 is accepted");
        let uri: Uri = url.parse().map_err(|_| not_a_url())?;
        let (Some(host), Some(authority)) = (uri.host(), uri.authority()) else { return Err(not_a_url()) };
        if !matches!(uri.path(), "" | "/") {
            return Err(not_a_url());
        }
        let (tls, default_port) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => {
                let trust = trust.context(
                    "https needs --ca FILE: the certificate of the authority, or the server's own",
                )?;
                (Some(trust.client_config()?), 443)
            }
            Some(_) | None => return Err(not_a_url()),
        };
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| anyhow::anyhow!("the token has characters that no token has"))?;
        bearer.set_sensitive(true);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let endpoint = Endpoint { host, port: uri.port_u16().unwrap_or(default_port), tls };
        Ok(ApiClient { endpoint, authority: authority.as_str().into(), bearer, patience: ANSWER_TIMEOUT })
    }

    /// The same client for what takes long.
    pub(crate) fn with_patience(self, patience: Duration) -> ApiClient {
        ApiClient { patience, ..self }
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, None, Bytes::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let json = HeaderValue::from_static("application/json");
        self.ask(Method::POST, path, Some(json), Bytes::from(body.to_string())).await
    }

    /// Sends bytes as they are.
    pub(crate) async fn upload(&self, path: &str, body: Bytes) -> anyhow::Result<Value> {
        let octets = HeaderValue::from_static("application/octet-stream");
        self.ask(Method::POST, path, Some(octets), body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::DELETE, path, None, Bytes::new()).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        content_type: Option<HeaderValue>,
        body: Bytes,
    ) -> anyhow::Result<Value> {
        let answer =
            tokio::time::timeout(self.patience, self.exchange(&method, path, content_type, body)).await;
        let (status, body) = answer.with_context(|| {
            format!("{} did not answer in {} s", self.authority, self.patience.as_secs())
        })??;
        let value =
            if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap_or(Value::Null) };
        if status.is_success() {
            return Ok(value);
        }
        let message = value["message"]
            .as_str()
            .map_or_else(|| String::from_utf8_lossy(&body).into_owned(), str::to_owned);
        Err(Refused { method, path: path.to_owned(), status, message }.into())
    }

    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        content_type: Option<HeaderValue>,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let socket = self.endpoint.dial().await.context("the server cannot be reached; is it running?")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &*self.authority)
            .header(AUTHORIZATION, &self.bearer);
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request.body(Full::new(body))?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?;
            Ok((status, body.to_bytes()))
        };
        let mut exchange = std::pin::pin!(exchange);
        let mut connection = std::pin::pin!(connection);
        let mut connection_ended = false;
        loop {
            tokio::select! {
                answer = &mut exchange => return answer,
                // Whatever ends the connection, the exchange tells it.
                _ = &mut connection, if !connection_ended => connection_ended = true,
            }
        }
    }
}
