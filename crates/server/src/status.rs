//! Where the pipelines stand, as the HTTP side tells it.

use serde::Serialize;

/// Who knows where the pipelines stand.
///
/// ```
/// use tidecast_server::{PipelineState, PipelineStatus, StatusSource};
/// struct One;
/// impl StatusSource for One {
///     fn pipelines(&self) -> Vec<PipelineStatus> {
///         vec![PipelineStatus::new("load_forecast", PipelineState::Starting)]
///     }
/// }
/// # assert_eq!(One.pipelines().len(), 1);
/// ```
pub trait StatusSource: Send + Sync + 'static {
    /// Returns all pipelines of the process, in a stable order. Must not block:
    /// it is asked for every request.
    fn pipelines(&self) -> Vec<PipelineStatus>;
}

/// One pipeline, as `/pipelines` and `/readyz` show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PipelineStatus {
    /// The pipeline's name.
    pub name: String,
    /// Where it stands.
    pub state: PipelineState,
    /// Which of its lives this is, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Why it stands there, in backoff or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// In backoff, seconds until it starts again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts_in_seconds: Option<f64>,
    /// What it has found out about its data that nobody may have meant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// One thing found out about a pipeline's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing, for programs.
    pub kind: String,
    /// How often, in whatever the text counts.
    pub count: u64,
    /// What was found, and the remedy.
    pub text: String,
}

impl PipelineStatus {
    /// Returns the status of the pipeline `name` with nothing said but its state.
    pub fn new(name: impl Into<String>, state: PipelineState) -> Self {
        Self {
            name: name.into(),
            state,
            generation: None,
            reason: None,
            restarts_in_seconds: None,
            findings: Vec::new(),
        }
    }
}

/// Where a pipeline stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PipelineState {
    /// It is being set up.
    Starting,
    /// It is up.
    Running,
    /// It failed and will start again.
    Backoff,
    /// One of its actors does nothing any more, and it starts again when that is gone.
    Stalled,
    /// It was told to stop and finishes what it has.
    Draining,
    /// It was given up: a person has to act.
    Failed,
    /// It ended in order.
    Stopped,
}

/// The body of `/readyz` and `/pipelines`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) ready: bool,
    pub(crate) pipelines: Vec<PipelineStatus>,
}

/// Returns whether the process does its work: some pipeline runs, and every other
/// one does too or has ended in order, as one with a bounded source does.
pub(crate) fn is_ready(pipelines: &[PipelineStatus]) -> bool {
    let is_fine = |pipeline: &PipelineStatus| {
        matches!(pipeline.state, PipelineState::Running | PipelineState::Stopped)
    };
    let runs = |pipeline: &PipelineStatus| pipeline.state == PipelineState::Running;
    pipelines.iter().all(is_fine) && pipelines.iter().any(runs)
}
