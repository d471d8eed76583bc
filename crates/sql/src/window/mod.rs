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
//!   missing values.
//! * [`Windower`] puts the last two together for the engine.
//!
//! Nothing here does I/O, reads a clock or knows a runtime. All results are
//! functions of the record sequence, to the bit, wherever batches were cut: the
//! watermark is a running maximum per record, accumulators live as long as their
//! window and are fed in offset order, and aggregates whose arithmetic depends on
//! how many rows they are handed at once are fed in pieces of a fixed size.

mod aggregate;
mod clock;
mod compile;
mod contexts;
mod gate;
mod json;
mod open;
mod operator;
mod query;
mod ring;
mod shape;
mod stage;
mod tumble;
mod windower;

pub use contexts::{ContextRings, SeriesContext};
pub use operator::{
    ClosedWindow, FailedGroup, LateRow, RejectedRow, WindowError, WindowOperator, WindowOutput,
};
pub use query::{CompileError, SourceTableInfo, WindowQuery};
pub use ring::Prior;
pub use tumble::{TumbleNode, WINDOW_END, WINDOW_START, to_batch_plan};
pub use windower::{ForcedClose, ReplayPoint, Windower, WindowerOutput};
