//! What can be said to `tidecast backtest`.

use std::path::PathBuf;

use clap::Args;
use tidecast_stream::grid::Tz;
use tidecast_stream::{EpochUnit, HorizonAggregate, Period};

use crate::choices::{DomainArguments, RolloutChoice, name_and_value, time_zone};
use crate::commands::series::{Fill, StepAggregate};

/// `tidecast backtest`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidecast backtest --input load.csv --time ts --target kw --series site --horizon 48
  tidecast backtest --input sales.parquet --time day --target units --series store --horizon 28 \\
      --aggregate sum --windows 6 --stride 14 --season 7 --output by-store.csv
  tidecast backtest --input load.csv --time ts --target kw --horizon 24 --rollout both --repeats 3 --json
  tidecast backtest --suite bench/accuracy/suite.toml --data sets/ --only gift:us_births/D/short

Each series is cut at several origins; the model forecasts from what lies before, and is scored on what
came after, beside the seasonal naive forecast. WQL is the mean pinball loss of all quantiles over the mean
of |y|; MASE the error of the median over that of repeating the season before. Lower is better in both.
Standard output is the same to the digit for the same command; the speed is on standard error.")]
pub struct BacktestArguments {
    /// The file: `.csv`, `.tsv`, `.jsonl`, `.json` or `.parquet`, the texts also as `.gz`.
    #[arg(long, value_name = "FILE", required_unless_present = "suite", conflicts_with = "suite")]
    pub input: Option<PathBuf>,
    /// The column with the time of a row.
    #[arg(
        long,
        value_name = "COLUMN",
        required_unless_present = "suite",
        conflicts_with = "suite"
    )]
    pub time: Option<String>,
    /// The column to forecast.
    #[arg(
        long,
        value_name = "COLUMN",
        required_unless_present = "suite",
        conflicts_with = "suite"
    )]
    pub target: Option<String>,
    /// The column that names the series; repeat it for several.
    #[arg(long, value_name = "COLUMN", conflicts_with = "suite")]
    pub series: Vec<String>,
    /// Steps to forecast.
    #[arg(long, value_name = "STEPS", required_unless_present = "suite", conflicts_with = "suite")]
    pub horizon: Option<usize>,
    /// Origins per series; as many as a tenth of the shortest series holds when absent, at most 20.
    #[arg(long, value_name = "N", conflicts_with = "suite")]
    pub windows: Option<usize>,
    /// Steps from one origin to the next; the horizon when absent.
    #[arg(long, value_name = "STEPS", conflicts_with = "suite")]
    pub stride: Option<usize>,
    /// Season length in steps; a day (of days: a week) when absent.
    #[arg(long, value_name = "STEPS", conflicts_with = "suite")]
    pub season: Option<usize>,
    /// Distance of two steps: `15min`, `1h`, `1d`, `1w`, `1month`, `1y`, `1 business day`, or ISO 8601 (`P1M`);
    /// found in the data, for each series, when absent. Series with different steps are scored apart.
    #[arg(long, value_name = "PERIOD", conflicts_with = "suite")]
    pub step: Option<Period>,
    /// The time zone whose days, weeks and months are meant (`Europe/Berlin`); found in the data or UTC when
    /// absent.
    #[arg(long, value_name = "ZONE", value_parser = time_zone, conflicts_with = "suite")]
    pub time_zone: Option<Tz>,
    /// What numbers in the column of times count since 1970: `s`, `ms`, `us` or `ns`; told by the largest of
    /// them when absent.
    #[arg(long, value_name = "UNIT", conflicts_with = "suite")]
    pub timestamp_unit: Option<EpochUnit>,
    /// What a step without a row is; missing when absent, of a count 0.
    #[arg(long, value_enum, value_name = "VALUE", conflicts_with = "suite")]
    pub fill: Option<Fill>,
    /// Stop if any row cannot be used.
    #[arg(long, conflicts_with = "suite")]
    pub strict: bool,
    /// How rows of one step become one value.
    #[arg(long, value_enum, default_value_t = StepAggregate::Avg, conflicts_with = "suite")]
    pub aggregate: StepAggregate,
    /// Quantile levels: 0.5, and some on either side.
    #[arg(
        long,
        value_name = "LEVELS",
        value_delimiter = ',',
        default_value = "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9",
        conflicts_with = "suite"
    )]
    pub quantiles: Vec<f64>,
    /// A file that lists tasks instead: sets of series, horizons, seasons.
    #[arg(long, value_name = "FILE", help_heading = "Suites")]
    pub suite: Option<PathBuf>,
    /// Where the suite's files are; the suite's own folder when absent.
    #[arg(long, value_name = "FOLDER", requires = "suite", help_heading = "Suites")]
    pub data: Option<PathBuf>,
    /// Only these tasks of the suite.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        requires = "suite",
        help_heading = "Suites"
    )]
    pub only: Vec<String>,
    /// Newest steps handed to the model; 1024 when absent and the suite says nothing.
    #[arg(long, value_name = "STEPS")]
    pub context: Option<usize>,
    /// `builtin:tiny`, a checkpoint's folder, `hf://owner/name[@revision]`, or `seasonal-naive`.
    #[arg(long, value_name = "MODEL", default_value = "builtin:tiny")]
    pub model: String,
    /// Accept the licence of weights that not everybody may use for everything (`cc-by-nc-4.0`).
    #[arg(long, value_name = "LICENCE")]
    pub accept_license: Option<String>,
    /// How a horizon longer than one patch is filled.
    #[arg(long, value_enum, default_value_t = RolloutChoice::Cached)]
    pub rollout: RolloutChoice,
    /// An option of the model as in `CREATE MODEL`, such as `sampling=independent`; may be repeated.
    #[arg(long = "model-option", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub model_options: Vec<(String, String)>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: String,
    #[command(flatten)]
    pub domain: DomainArguments,
    /// Also score what several steps come to: `sum` of the horizon, `max:24` of each 24 steps; `avg` and `min`
    /// likewise.
    #[arg(long = "horizon-aggregate", value_name = "AGGREGATE", value_delimiter = ',')]
    pub horizon_aggregates: Vec<HorizonAggregate>,
    /// Sample paths drawn; as many as suit the model when absent.
    #[arg(long, value_name = "N")]
    pub samples: Option<usize>,
    /// The first seed; sample paths depend on it and on task, series and origin.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Seeds, counted up from the first; the mean is printed.
    #[arg(long, value_name = "SEEDS", default_value_t = 1)]
    pub repeats: u64,
    /// Threads; one per core when absent.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Print the scores as one JSON object on the last line, below the table.
    #[arg(long)]
    pub json: bool,
    /// Write the scores of each series to this `.csv` file.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
