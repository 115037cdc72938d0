//! The collector of traces, asked by the client that asks backends: its times and sizes are bounded like theirs.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::error::StartError;
use crate::commons::Commons;
use crate::config::TracesConfig;
use crate::telemetry::{Metrics, Traces};
use crate::upstream::{Balance, RequestBody, Unobserved, Upstream, UpstreamSettings, read_whole};

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer that is read.
const LONGEST_ANSWER: usize = 64 << 10;

/// Traces that go to the collector of the configuration. Within a runtime, which the calls run on.
pub(super) fn traces(config: &TracesConfig, commons: &Commons) -> Result<Traces, StartError> {
    let settings = UpstreamSettings {
        name: "traces".into(),
        peers: vec![config.peer.clone()],
        balance: Balance::RoundRobin,
        health: None,
        eject: None,
        trust: config.trust.clone(),
        keepalive: None,
        connect_timeout: PATIENCE,
        response_timeout: PATIENCE,
    };
    let collector = Collector {
        upstream: Arc::new(Upstream::new(settings, &commons.clock, &Unobserved)),
        runtime: Handle::current(),
        metrics: commons.metrics.clone(),
        failing: Arc::default(),
    };
    let headers: HashMap<String, String> =
        config.headers.iter().map(|(name, value)| (name.to_string(), value.expose_secret().to_owned())).collect();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(collector)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(config.url.clone())
        .with_timeout(PATIENCE)
        .with_headers(headers)
        .build()
        .map_err(|error| StartError::Traces(error.to_string()))?;
    Ok(Traces::new(exporter, config.share, commons.entropy.clone()))
}

/// Sends what the library has put into a request.
#[derive(Clone, Debug)]
struct Collector {
    upstream: Arc<Upstream>,
    runtime: Handle,
    metrics: Arc<Metrics>,
    /// Whether the last call failed: what goes on is not told again.
    failing: Arc<AtomicBool>,
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The library's thread has no runtime.
        let collector = self.clone();
        let call = self.runtime.spawn(async move { timeout(PATIENCE, collector.call(request)).await });
        let answer = match call.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(HttpError::from(format!("no answer within {PATIENCE:?}"))),
            Err(_) => Err(HttpError::from("the gateway stops")),
        };
        self.tell(&answer);
        answer
    }
}

impl Collector {
    async fn call(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (mut head, body) = request.into_parts();
        let authority = head.uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
        head.headers.insert(HOST, HeaderValue::try_from(authority)?);
        head.uri = head.uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
        let answer = self.upstream.send(Request::from_parts(head, RequestBody::Full(body))).await?;
        let (head, body) = answer.into_parts();
        let body =
            read_whole(&head.headers, body, LONGEST_ANSWER, PATIENCE).await.map_err(|error| error.to_string())?;
        Ok(Response::from_parts(head, body))
    }

    fn tell(&self, answer: &Result<Response<Bytes>, HttpError>) {
        let why = match answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answered {}", answer.status())),
            Err(error) => Some(error.to_string()),
        };
        self.metrics.traces_sent(why.is_none());
        let failed_before = self.failing.swap(why.is_some(), Ordering::Relaxed);
        match why {
            Some(why) if !failed_before => {
                tracing::warn!(why, "the collector of traces cannot be reached; spans are lost meanwhile");
            }
            None if failed_before => tracing::info!("the collector of traces takes spans again"),
            _ => {}
        }
    }
}
