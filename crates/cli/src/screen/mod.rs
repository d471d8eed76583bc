//! What `tidecast demo` and `tidecast tail` draw on a terminal: charts of forecasts, and
//! the terminal itself. What is in them is theirs.

mod chart;
mod fan;
mod terminal;

pub(crate) use chart::{BAND, MEDIAN, PANEL, PAST, columns, draw_chart, grid, panel};
pub use chart::{Chart, number};
pub use fan::{Fan, StepForecast};
pub use terminal::TerminalView;
pub(crate) use terminal::is_quit;
