//! What `tidecast tail` shows of a forecast topic: what was received, the picture of it, and
//! lines for pipes. No broker here: whoever reads one tells [`TailState`] what came.
//!
//! ```text
//! record → Reading::sort → Received → TailState::take → view::draw
//!                                   → lines_of
//! ```

mod filter;
mod lines;
mod received;
mod state;
mod view;

pub use filter::{FilterError, SeriesFilter};
pub use lines::lines_of;
pub use received::{Reading, Received};
pub use state::{Counts, SeriesState, TailState, TargetState};
pub use view::{Shown, draw};
