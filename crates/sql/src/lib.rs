//! SQL in, windows out: the dialect, the catalog, planning by DataFusion, the
//! window operator and the context rings. The only crate that sees DataFusion.
//!
//! It reads and writes nothing: text becomes a [`PipelinePlan`], and batches
//! pushed into a [`Windower`] become [`SeriesContext`]s that ask for forecasts.

pub mod spec;

pub use spec::*;
