//! What `tidecast demo` shows: the recorded series, running scores, and the
//! picture. No broker and no engine here: whoever runs them tells
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
mod view;

pub use data::{DemoDataError, DemoRecord, records, region_name};
pub use score::SeriesScore;
pub use state::{DemoState, SeriesState};
pub use summary::{plain_block, summary_json, summary_table};
pub use view::draw;
