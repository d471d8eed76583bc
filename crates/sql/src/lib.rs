//! SQL in, windows out: the dialect, the catalog, planning by DataFusion, the
//! window operator and the context rings. The only crate that sees DataFusion.
//!
//! It reads and writes nothing: text becomes a [`PipelinePlan`] through
//! [`parse_scripts`], and batches pushed into a windower become series
//! contexts that ask for forecasts.
//!
//! The way of a script: [`dialect`] turns text into statements that know their
//! place; [`planner`] gives names their meaning, checks options, and lets
//! DataFusion plan the views; [`window`] compiles a view into something that
//! runs on a stream; [`explain`] says what came out, with every setting.

pub mod dialect;
pub mod error;
mod explain;
pub mod planner;
mod session;
pub mod spec;
pub mod window;

pub use dialect::quote_identifier;
pub use error::{SqlError, SqlErrors};
pub use explain::explain;
pub use planner::parse_scripts;
pub use session::Session;
pub use spec::*;
pub use window::{
    CompileError, ForcedClose, PartLimit, Prior, ReplayPoint, SeriesContext, Snapshot,
    SnapshotError, SourceTableInfo, WatermarkCondition, WindowError, WindowQuery, Windower,
    WindowerOutput,
};
