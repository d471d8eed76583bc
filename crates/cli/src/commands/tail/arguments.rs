//! What can be said to `tidecast tail`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use tidecast_files::time::parse_time;
use tidecast_stream::EventTime;

use crate::arguments::ConfigArguments;
use crate::choices::name_and_value;

/// `tidecast tail`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidecast tail load.sql                                  charts, until q
  tidecast tail load.sql --series site=A --series site=B
  tidecast tail load.sql --plain --from -1h | cut -f 1,4  series and median of the next step
  tidecast tail load.sql --json --from earliest --limit 100 > forecasts.jsonl

Read is the topic that the pipeline writes to, with the connection of its file and of the
configuration, committed messages only. No group is joined and nothing is committed: a user that may
read the topic is enough.

On a terminal each series has a chart: the newest forecast, its median and band, and before it what
earlier forecasts said of the steps up to there (messages hold no values that were measured). Keys
stand at the bottom. Elsewhere, or with --plain, each target of a forecast is a line, with tabs
between series, origin, target, median of the next step, band of the next step, and status; with
--json it is the message as it is.

Records of the topic that are no forecasts, and forecasts of other pipelines, are counted and passed
over. The status is 0 after --limit, q, Ctrl-C and SIGTERM, and 1 if the topic cannot be read.")]
pub struct TailArguments {
    /// The pipeline's file, or a folder of `.sql` files.
    #[arg(value_name = "PIPELINE")]
    pub file: PathBuf,
    /// Which pipeline, where the file has several.
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Only series with this value in this column; repeat it for several values, or columns.
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = name_and_value)]
    pub series: Vec<(String, String)>,
    /// Where to begin, by when messages were written: `earliest`, `latest`, a time such as
    /// `2026-11-28T10:00:00Z`, or so long ago as `-1h`. `latest` unless said; charts then begin with
    /// what the newest 1,000 messages of each partition tell.
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    pub from: Option<TailFrom>,
    /// End after so many forecasts.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Lines instead of charts; chosen by itself when the output is no terminal.
    #[arg(long)]
    pub plain: bool,
    /// The messages' JSON, one a line.
    #[arg(long, conflicts_with = "plain")]
    pub json: bool,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArguments,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TailFrom {
    /// At the oldest message.
    Earliest,
    /// Behind the newest one.
    Latest,
    /// At the first that was written then or later.
    At(EventTime),
    /// At the first that is no older.
    Back(Duration),
}

/// Text that says no [`TailFrom`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `earliest`, `latest`, a time such as `2026-11-28T10:00:00Z`, or `-1h`")]
pub struct TailFromError;

impl FromStr for TailFrom {
    type Err = TailFromError;

    fn from_str(text: &str) -> Result<Self, TailFromError> {
        match text.trim() {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            text => match text.strip_prefix('-') {
                Some(back) => humantime::parse_duration(back).map(Self::Back).ok(),
                None => parse_time(text).map(Self::At),
            }
            .ok_or(TailFromError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_a_word_a_time_or_so_long_ago() {
        let read = |text: &str| text.parse::<TailFrom>();
        assert_eq!(read("earliest"), Ok(TailFrom::Earliest));
        assert_eq!(read("-1h 30m"), Ok(TailFrom::Back(Duration::from_secs(5_400))));
        let time = TailFrom::At("2026-11-28T09:00:00Z".parse().unwrap());
        assert_eq!(read("2026-11-28T10:00:00+01:00"), Ok(time));
        assert_eq!(read("2026-11-28 09:00"), Ok(time));
        for wrong in ["1h", "-5", "yesterday", "", "-"] {
            assert_eq!(read(wrong), Err(TailFromError), "{wrong}");
        }
    }
}
