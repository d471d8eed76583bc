//! The service over real loopback HTTP.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tidecast_server::{
    Metrics, PipelineState, PipelineStatus, Server, StatusSource, install_recorder,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// Pipelines whose states a test sets.
#[derive(Default)]
struct Pipelines(Mutex<Vec<PipelineStatus>>);

impl Pipelines {
    fn set(&self, pipelines: impl IntoIterator<Item = PipelineStatus>) {
        *self.0.lock().unwrap() = pipelines.into_iter().collect();
    }
}

impl StatusSource for Pipelines {
    fn pipelines(&self) -> Vec<PipelineStatus> {
        self.0.lock().unwrap().clone()
    }
}

/// A recorder is installed once per process, and this file is one.
fn metrics() -> Metrics {
    static METRICS: Mutex<Option<Metrics>> = Mutex::new(None);
    METRICS.lock().unwrap().get_or_insert_with(|| install_recorder().unwrap()).clone()
}

async fn start(pipelines: &Arc<Pipelines>) -> (SocketAddr, oneshot::Sender<()>) {
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), metrics()).await.unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel();
    let status: Arc<dyn StatusSource> = Arc::clone(pipelines) as _;
    tokio::spawn(server.serve_until(status, async {
        stopped.await.ok();
    }));
    (address, stop)
}

/// Returns the status code, the head and the body.
async fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, head.to_ascii_lowercase(), body.to_owned())
}

fn running(name: &str) -> PipelineStatus {
    PipelineStatus { generation: Some(1), ..PipelineStatus::new(name, PipelineState::Running) }
}

#[tokio::test]
async fn the_process_is_live_whatever_its_pipelines_do() {
    let pipelines = Arc::new(Pipelines::default());
    let (address, _stop) = start(&pipelines).await;
    pipelines.set([PipelineStatus::new("load", PipelineState::Failed)]);
    assert_eq!(get(address, "/healthz").await.0, 200);
    assert_eq!(get(address, "/").await.0, 200);
    assert_eq!(get(address, "/nonsense").await.0, 404);
}

#[tokio::test]
async fn it_is_ready_when_its_pipelines_run() {
    let pipelines = Arc::new(Pipelines::default());
    let (address, _stop) = start(&pipelines).await;
    use PipelineState::{Backoff, Draining, Failed, Running, Starting, Stopped};
    for (states, ready) in [
        (&[][..], false),
        (&[Starting], false),
        (&[Running], true),
        (&[Running, Starting], false),
        (&[Running, Running], true),
        (&[Running, Backoff], false),
        (&[Running, Failed], false),
        (&[Running, Draining], false),
        // A bounded pipeline that is done does not make its neighbours unready.
        (&[Running, Stopped], true),
        (&[Stopped], false),
    ] {
        pipelines.set(states.iter().map(|state| PipelineStatus::new("p", *state)));
        let (code, _, body) = get(address, "/readyz").await;
        assert_eq!(code, if ready { 200 } else { 503 }, "{states:?}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["ready"], ready, "{states:?}");
        assert_eq!(body["pipelines"].as_array().unwrap().len(), states.len());
    }
}

#[tokio::test]
async fn the_status_says_why_a_pipeline_does_not_run() {
    let pipelines = Arc::new(Pipelines::default());
    let (address, _stop) = start(&pipelines).await;
    let backoff = PipelineStatus {
        reason: Some("broker `k:9092` \"refused\"".to_owned()),
        restarts_in_seconds: Some(1.5),
        ..PipelineStatus::new("sales", PipelineState::Backoff)
    };
    pipelines.set([running("load"), backoff]);
    let (code, head, body) = get(address, "/pipelines").await;
    assert_eq!(code, 200);
    assert!(head.contains("content-type: application/json"), "{head}");
    let expected = serde_json::json!({"ready": false, "pipelines": [
        {"name": "load", "state": "running", "generation": 1},
        {"name": "sales", "state": "backoff", "reason": "broker `k:9092` \"refused\"",
         "restarts_in_seconds": 1.5},
    ]});
    assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap(), expected);
}

#[tokio::test]
async fn metrics_come_with_their_help_and_with_buckets_of_their_unit() {
    let (address, _stop) = start(&Arc::new(Pipelines::default())).await;
    metrics::counter!("tidecast_source_records_total", "pipeline" => "load").increment(7);
    metrics::histogram!("tidecast_publisher_commit_seconds", "pipeline" => "load").record(0.02);
    metrics::histogram!("tidecast_forecaster_batch_tokens", "model" => "tiny").record(5000.0);
    let (code, head, body) = get(address, "/metrics").await;
    assert_eq!(code, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    for line in [
        "# HELP tidecast_source_records_total Records received, the bad ones included.",
        "# TYPE tidecast_source_records_total counter",
        "tidecast_source_records_total{pipeline=\"load\"} 7",
        "# TYPE tidecast_publisher_commit_seconds histogram",
        "tidecast_publisher_commit_seconds_bucket{pipeline=\"load\",le=\"0.01\"} 0",
        "tidecast_publisher_commit_seconds_bucket{pipeline=\"load\",le=\"0.025\"} 1",
        "tidecast_forecaster_batch_tokens_bucket{model=\"tiny\",le=\"4096\"} 0",
        "tidecast_forecaster_batch_tokens_bucket{model=\"tiny\",le=\"8192\"} 1",
    ] {
        assert!(body.lines().any(|found| found == line), "no line `{line}` in\n{body}");
    }
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_it_and_the_remedy() {
    let first = Server::bind("127.0.0.1:0".parse().unwrap(), metrics()).await.unwrap();
    let address = first.address();
    let error = Server::bind(address, metrics()).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on `{address}`: ")), "{error}");
    assert!(error.contains("another process has this port"), "{error}");
    assert!(error.contains("`server.listen`"), "{error}");

    let foreign = "192.0.2.1:9464".parse().unwrap();
    let error = Server::bind(foreign, metrics()).await.unwrap_err().to_string();
    assert!(error.contains("does not have that address"), "{error}");
}

#[tokio::test]
async fn it_stops_when_told_to() {
    let pipelines: Arc<dyn StatusSource> = Arc::new(Pipelines::default());
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), metrics()).await.unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve_until(pipelines, async {
        stopped.await.ok();
    }));
    assert_eq!(get(address, "/healthz").await.0, 200);
    stop.send(()).unwrap();
    serving.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[test]
fn a_second_recorder_is_refused() {
    metrics();
    assert!(install_recorder().unwrap_err().to_string().contains("once per process"));
}
