//! `run`: pipelines as a service.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use tidecast_engine::{Engine, EngineConfig, SnapshotStore, SqlConnectors, StatePlace, Status};
use tidecast_server::{Finding, PipelineState, PipelineStatus, Server, StatusSource};

use crate::arguments::RunArguments;
use crate::commands::plan::load_plans;
use crate::commands::{configuration, start_logging};
use crate::config::Config;
use crate::shutdown;

/// Returns the engine's settings. The folder for snapshots that nobody asked for
/// is done without if it cannot be had, as where users have no home.
fn engine_config(config: &Config, reset_state: bool) -> EngineConfig {
    let mut engine = config.engine();
    engine.state.reset = reset_state;
    if let StatePlace::Auto(Some(url)) = &engine.state.url
        && let Err(error) = SnapshotStore::open(url)
    {
        tracing::warn!(%error, "no snapshots of state: set `state.url`");
        engine.state.url = StatePlace::Nowhere;
    }
    engine
}

/// Runs `tidecast run`: until every pipeline has ended or a signal comes.
///
/// # Errors
/// If the pipelines or the configuration are wrong, the HTTP address is taken,
/// or a pipeline failed for good.
pub fn run(arguments: &RunArguments, log: Option<&str>) -> anyhow::Result<()> {
    let config = configuration(&arguments.config)?;
    start_logging(&config, log)?;
    let plans = load_plans(&arguments.files)?;
    let metrics = tidecast_server::install_recorder()?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let endings = runtime.block_on(async {
        // The address is taken before anything is consumed.
        let server = if config.server.enabled {
            Some(Server::bind(config.server.listen, metrics).await?)
        } else {
            None
        };
        let settings = engine_config(&config, arguments.reset_state);
        let engine = Engine::start(plans, settings, Arc::new(SqlConnectors::default()));
        let engine = Arc::new(engine);
        let serving = server.map(|server| {
            let status: Arc<dyn StatusSource> = Arc::new(EngineStatus(Arc::clone(&engine)));
            tokio::spawn(server.serve(status))
        });
        tokio::select! {
            _endings = engine.ended() => tracing::info!("all pipelines have ended"),
            () = shutdown::requested() => tracing::info!("stopping; what is under way is finished"),
        }
        let endings = engine.shutdown().await;
        if let Some(serving) = serving {
            serving.abort();
        }
        anyhow::Ok(endings)
    })?;
    let failed: Vec<String> = endings
        .into_iter()
        .filter_map(|(name, status)| match status {
            Status::Failed { reason } => Some(format!("pipeline `{name}` failed: {reason}")),
            _ => None,
        })
        .collect();
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    Ok(())
}

/// The engine as the server sees it.
struct EngineStatus(Arc<Engine>);

impl StatusSource for EngineStatus {
    fn pipelines(&self) -> Vec<PipelineStatus> {
        let status = self.0.status().into_iter().zip(self.0.findings());
        let of = |((name, status), findings): ((String, Status), Vec<tidecast_engine::Finding>)| {
            let findings = findings.into_iter().map(|finding| Finding {
                kind: finding.kind.to_owned(),
                count: finding.count,
                text: finding.text,
            });
            PipelineStatus { findings: findings.collect(), ..of_status(name, &status) }
        };
        status.map(of).collect()
    }
}

fn of_status(name: String, status: &Status) -> PipelineStatus {
    let (state, generation, reason, until) = match status {
        Status::Starting { generation } => (PipelineState::Starting, Some(*generation), None, None),
        Status::Running { generation } => (PipelineState::Running, Some(*generation), None, None),
        Status::Draining { generation } => (PipelineState::Draining, Some(*generation), None, None),
        Status::Backoff { until, reason } => {
            (PipelineState::Backoff, None, Some(reason.clone()), Some(*until))
        }
        Status::Stalled { reason } => (PipelineState::Stalled, None, Some(reason.clone()), None),
        Status::Failed { reason } => (PipelineState::Failed, None, Some(reason.clone()), None),
        Status::Stopped => (PipelineState::Stopped, None, None, None),
    };
    let restarts_in_seconds =
        until.map(|until| until.saturating_duration_since(Instant::now()).as_secs_f64());
    PipelineStatus { generation, reason, restarts_in_seconds, ..PipelineStatus::new(name, state) }
}
