//! The HTTP side of the service: health, readiness, status and metrics.
//!
//! | path         | answer                                                            |
//! |--------------|-------------------------------------------------------------------|
//! | `/healthz`   | 200 as long as the process answers                                |
//! | `/readyz`    | 200 when the pipelines are up, 503 otherwise; states as JSON      |
//! | `/pipelines` | 200; states as JSON                                               |
//! | `/metrics`   | 200; Prometheus' text format                                      |
//! | `/`          | 200; this list                                                    |
//!
//! The crate knows pipelines by [`PipelineStatus`] only; who runs them implements
//! [`StatusSource`]. There is no login: off the loopback address everybody who
//! reaches the port reads names and numbers of the pipelines, and can change
//! nothing.

mod metrics;
mod status;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer};
use tokio::net::TcpListener;

pub use crate::metrics::{
    Metric, MetricKind, Metrics, RecorderError, describe_metrics, install_recorder,
};
pub use crate::status::{Finding, PipelineState, PipelineStatus, StatusSource};

/// `[server]`: whether and where the service listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Whether there is a server.
    pub enabled: bool,
    /// Where it listens.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| {
        let expected = &"address:port, such as 127.0.0.1:9464";
        D::Error::invalid_value(Unexpected::Str(&text), expected)
    })
}

/// A bound HTTP server that does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    metrics: Metrics,
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}`: {source}; {remedy}")]
pub struct BindError {
    /// The address wanted.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
    remedy: &'static str,
}

impl BindError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        let remedy = match source.kind() {
            io::ErrorKind::AddrInUse => {
                "another process has this port: stop it, or choose another with `server.listen`"
            }
            io::ErrorKind::AddrNotAvailable => {
                "this machine does not have that address: set `server.listen` to one of its own, or to `0.0.0.0` for all"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need privileges: choose a higher one with `server.listen`"
            }
            _ => "choose another address with `server.listen`",
        };
        Self { address, source, remedy }
    }
}

impl Server {
    /// Takes `address`; port 0 takes any free one. Requests wait until
    /// [`serve`](Self::serve).
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn bind(address: SocketAddr, metrics: Metrics) -> Result<Self, BindError> {
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address, metrics })
        };
        bound.await.map_err(|source| BindError::new(address, source))
    }

    /// Returns the address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until dropped.
    pub async fn serve(self, status: Arc<dyn StatusSource>) {
        self.serve_until(status, std::future::pending()).await;
    }

    /// Answers requests until `shutdown`, then completes those under way.
    pub async fn serve_until(
        self,
        status: Arc<dyn StatusSource>,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) {
        tracing::info!(address = %self.address, "serving health, status and metrics");
        let router = Router::new()
            .route("/", get(index))
            .route("/healthz", get(live))
            .route("/readyz", get(ready))
            .route("/pipelines", get(pipelines))
            .route("/metrics", get(exposition))
            .with_state(App { status, metrics: self.metrics });
        // Accept errors (too many open files, say) are waited out inside.
        let ended = axum::serve(self.listener, router).with_graceful_shutdown(shutdown).await;
        if let Err(error) = ended {
            tracing::error!(%error, "the HTTP server ended");
        }
    }
}

#[derive(Clone)]
struct App {
    status: Arc<dyn StatusSource>,
    metrics: Metrics,
}

async fn index() -> &'static str {
    "tidecast\n\n/healthz    is the process alive\n/readyz     are the pipelines up\n/pipelines  where each pipeline stands\n/metrics    for Prometheus\n"
}

async fn live() -> &'static str {
    "ok\n"
}

async fn ready(State(app): State<App>) -> Response {
    let pipelines = app.status.pipelines();
    let is_ready = status::is_ready(&pipelines);
    let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(code, &status::Report { ready: is_ready, pipelines })
}

async fn pipelines(State(app): State<App>) -> Response {
    let pipelines = app.status.pipelines();
    let report = status::Report { ready: status::is_ready(&pipelines), pipelines };
    json(StatusCode::OK, &report)
}

async fn exposition(State(app): State<App>) -> Response {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], app.metrics.render()).into_response()
}

fn json(code: StatusCode, report: &status::Report) -> Response {
    match serde_json::to_string(report) {
        Ok(body) => {
            (code, [(header::CONTENT_TYPE, "application/json")], body + "\n").into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
