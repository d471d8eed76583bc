//! Windows over a stream: a view is compiled once and then fed record by
//! record.
//!
//! * [`TumbleNode`] is what `TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL …)` becomes
//!   in a logical plan. It can also be spelled with plain expressions, so that
//!   the same view runs as an ordinary batch query ([`to_batch_plan`]).
//! * [`WindowQuery`] is a compiled view: expressions before the aggregation, the
//!   group keys, the aggregates, and what is done with a closed window's groups.
//! * [`WindowOperator`] runs it over one partition: event time, watermark, late
//!   rows, and one set of accumulators per open window.
//! * [`ContextRings`] keep each series' newest steps and fill its gaps with
//!   missing values. What is known of the steps ahead of an origin they read from
//!   windows that are still open ([`AheadWindow`]).
//! * [`Windower`] puts the last two together for the engine.
//!
//! Nothing here does I/O, reads a clock or knows a runtime. All results are
//! functions of the record sequence, to the bit, wherever batches were cut: the
//! watermark is a running maximum per record, accumulators live as long as their
//! window and are fed in offset order, and aggregates whose arithmetic depends on
//! how many rows they are handed at once are fed in pieces of a fixed size. Where
//! forecasts look into open windows, a batch is cut at the records that close one,
//! so that what they see is that of the records so far.

mod aggregate;
mod ahead;
mod captured;
mod clock;
mod columns;
mod compile;
mod condition;
mod contexts;
mod expression;
mod gate;
mod identity;
mod json;
mod open;
mod operator;
mod output;
mod packed;
mod prepare;
mod query;
mod ring;
mod rings;
mod shape;
mod snapshot;
mod stage;
mod tumble;
mod windower;

pub use ahead::AheadWindow;
pub use condition::WatermarkCondition;
pub use contexts::{ContextRings, PartLimit, SeriesContext};
pub use identity::{IDENTITY_VERSION, legacy_window_identity, state_identity, window_identity};
pub use open::SavedWindow;
pub use operator::WindowOperator;
pub use output::{ClosedWindow, FailedGroup, LateRow, RejectedRow, WindowError, WindowOutput};
pub use query::{CompileError, SourceTableInfo, WindowQuery};
pub use ring::Prior;
pub use snapshot::{Head, SnapshotError, read_head};
pub use tumble::{TumbleNode, WINDOW_END, WINDOW_START, to_batch_plan};
pub use windower::{ForcedClose, ReplayPoint, Snapshot, Windower, WindowerOutput};
