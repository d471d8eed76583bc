//! What `tidecast demo` shows: the recorded series, running scores, and the
//! terminal. No broker and no engine here: whoever runs them tells
//! [`DemoState`] what was sent and what came back.
//!
//! ```text
//! records() → (sent to the broker) → DemoState::record
//!             (read from the topic) → DemoState::forecast → view::draw, plain_block, summary_*
//! ```

mod data;
mod score;
mod state;
mod summary;
mod terminal;
mod view;

pub use data::{DemoDataError, DemoRecord, records, region_name};
pub use score::{SeriesScore, StepForecast};
pub use state::{DemoState, LatestForecast, SeriesState};
pub use summary::{plain_block, summary_json, summary_table};
pub use terminal::TerminalView;
pub use view::draw;
