//! What can be said on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tidecast_moirai::Precision;
use tidecast_stream::grid::Tz;
use tidecast_stream::{EpochUnit, HorizonAggregate, Period};

use crate::choices::{DomainArguments, RolloutChoice, name_and_value, time_zone};
use crate::commands::backtest::arguments::BacktestArguments;
use crate::commands::series::Fill;
use crate::commands::tail::arguments::TailArguments;

/// Forecasts on streams: Kafka topics of time series in, a Kafka topic of
/// probabilistic forecasts out. Pipelines are SQL files.
#[derive(Debug, Parser)]
#[command(name = "tidecast", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "\
Try it:
  tidecast demo                            a broker, a stream and its forecasts in one process
  tidecast forecast --input sales.csv --time day --target units --horizon 28
  tidecast check pipelines/*.sql           find mistakes without starting anything
  tidecast run pipelines/load.sql          the service
  tidecast tail pipelines/load.sql         its forecasts as they come")]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How much to log: error, warn, info, debug, trace, or per module
    /// (`info,tidecast_kafka=debug`).
    #[arg(long, global = true, value_name = "FILTER", help_heading = "Global options")]
    pub log: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show forecasts of a live stream: broker, replayed data and pipeline in one process.
    Demo(DemoArguments),
    /// Look at a topic and propose a pipeline for it.
    Init(InitArguments),
    /// Run pipelines as a service until SIGTERM or Ctrl-C.
    Run(RunArguments),
    /// Follow a pipeline's forecasts as they come, as charts or as lines.
    Tail(TailArguments),
    /// Check pipeline files and configuration without starting anything.
    Check(PlanArguments),
    /// Show what a pipeline would do, with every effective setting.
    Explain(ExplainArguments),
    /// Forecast the series of a file, without Kafka.
    Forecast(Box<ForecastArguments>),
    /// Score a model on the past of a file's series, or on a suite of tasks.
    Backtest(Box<BacktestArguments>),
    /// Look at model checkpoints.
    #[command(subcommand)]
    Model(ModelCommand),
    /// Measure this machine: windows, forecasts.
    Bench(BenchArguments),
    /// Look at the snapshots of pipelines' state.
    #[command(subcommand)]
    State(StateCommand),
    /// Print the configuration in force, defaults included.
    Config(ConfigArguments),
    /// Print a completion script for a shell.
    #[command(
        after_help = "Example:\n  tidecast completions bash > ~/.local/share/bash-completion/completions/tidecast"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one for each command, into a folder.
    #[command(after_help = "Example:\n  tidecast man ~/.local/share/man/man1 && man tidecast-run")]
    Man {
        /// The folder; it is made if it is missing.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

/// Where the configuration comes from.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArguments {
    /// A configuration file; what it does not set keeps its default
    /// (`config/tidecast.toml` lists all).
    #[arg(long, value_name = "FILE", env = "TIDECAST_CONFIG")]
    pub config: Option<PathBuf>,
    /// Set one key, over file and environment: `--set kafka.bootstrap_servers=broker:9092`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `tidecast init`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidecast init --kafka broker:9092 --topic readings --output readings.sql
  tidecast init --topic readings --registry http://registry:8081
  tidecast check readings.sql && tidecast run readings.sql

Looked at are the newest records of each partition: what format they are of, which field is the time, which
names the series and which is the value, and how far values are apart. What was guessed is said, and stands
in the file's comments. Nothing is committed or written to Kafka.")]
pub struct InitArguments {
    /// The topic.
    #[arg(long, value_name = "TOPIC")]
    pub topic: String,
    /// The brokers to ask, `host:port` separated by commas; the configuration's without it.
    #[arg(long, value_name = "BROKERS")]
    pub kafka: Option<String>,
    /// The schema registry of Avro and Protobuf records; the configuration's without it.
    #[arg(long, value_name = "URL")]
    pub registry: Option<String>,
    /// Records to look at.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub records: usize,
    /// The pipeline's name; `<topic>_forecast` without it.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Write it to this file instead of the terminal.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace the file if it is there.
    #[arg(long)]
    pub force: bool,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArguments,
}

/// `tidecast state`.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// List snapshots: pipeline, partition, offset, size, age.
    #[command(after_help = "Example:\n  tidecast state ls --pipeline load_forecast")]
    Ls {
        /// Only those of this pipeline.
        #[arg(long, value_name = "NAME")]
        pipeline: Option<String>,
        /// Print one JSON array.
        #[arg(long)]
        json: bool,
        /// The configuration.
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// Show what a snapshot holds and what it belongs to.
    Inspect {
        /// Its name, as `ls` prints it.
        snapshot: String,
        /// The configuration.
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// Delete all but the newest snapshots of each partition.
    #[command(after_help = "\
A service deletes what it does not need any more by itself; this is for pipelines that run no longer.
Without snapshots a pipeline reads more of its topic when it starts; nothing else is lost but the mean of
what came before contexts.

Examples:
  tidecast state gc --dry-run
  tidecast state gc --pipeline old_load --keep 0")]
    Gc {
        /// Only those of this pipeline.
        #[arg(long, value_name = "NAME")]
        pipeline: Option<String>,
        /// How many of each partition stay.
        #[arg(long, value_name = "N", default_value_t = 2)]
        keep: u8,
        /// Only say what would be deleted.
        #[arg(long)]
        dry_run: bool,
        /// The configuration.
        #[command(flatten)]
        config: ConfigArguments,
    },
}

/// `tidecast run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidecast run pipelines/load.sql
  tidecast run pipelines/ --config /etc/tidecast.toml
  TIDECAST_KAFKA__BOOTSTRAP_SERVERS=broker:9092 tidecast run load.sql

SIGTERM and Ctrl-C finish what is under way, commit it, and exit with status 0; a second one stops at once.
The status is 1 if a pipeline failed for good.")]
pub struct RunArguments {
    /// Pipeline files, or folders of `.sql` files.
    #[arg(required = true, value_name = "FILES")]
    pub files: Vec<PathBuf>,
    /// Leave contexts and open windows behind where a pipeline's window query, watermark
    /// or series changed, which is refused otherwise. Others keep theirs.
    #[arg(long)]
    pub reset_state: bool,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArguments,
}

/// `tidecast check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tidecast check pipelines/*.sql\n  tidecast check --live load.sql --set kafka.bootstrap_servers=broker:9092\n\nThe status is 1 if anything is wrong."
)]
pub struct PlanArguments {
    /// Pipeline files, or folders of `.sql` files.
    #[arg(required = true, value_name = "FILES")]
    pub files: Vec<PathBuf>,
    /// Ask the brokers and the schema registry as well: whether topics are there, and what the
    /// newest records of sources are to their tables, and whether the registry has, or would
    /// take, the schema of the forecasts. Nothing is written or committed; whether this user may
    /// write, only writing tells (`tidecast explain --acls` says what it needs).
    #[arg(long)]
    pub live: bool,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArguments,
}

/// `tidecast explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidecast explain pipelines/demo.sql
  tidecast explain --acls --principal User:tidecast pipelines/demo.sql | sh
  tidecast explain --schema load.sql > forecast.avsc")]
pub struct ExplainArguments {
    /// Pipeline files, or folders of `.sql` files.
    #[arg(required = true, value_name = "FILES")]
    pub files: Vec<PathBuf>,
    /// Print the ACLs that the pipelines need instead, as calls of `kafka-acls.sh`.
    #[arg(long)]
    pub acls: bool,
    /// Print the schema of the forecasts' messages instead: Avro's as JSON, Protobuf's as the
    /// text of a .proto file, of JSON its JSON Schema.
    #[arg(long, conflicts_with = "acls")]
    pub schema: bool,
    /// Whom they are for: `User:` and the SASL user, or the certificate's subject.
    #[arg(long, value_name = "NAME", requires = "acls", default_value = "User:tidecast")]
    pub principal: String,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArguments,
}

/// `tidecast demo`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidecast demo                       until Ctrl-C, with live charts
  tidecast demo --for 30s             ends by itself with a summary
  tidecast demo --for 30s --json      the summary as JSON on the last line

The broker is librdkafka's in-process mock: it speaks Kafka's protocol on a local port, so an ordinary
client can subscribe while the demo runs, but it keeps 5 MiB a partition and has no real transactions.")]
pub struct DemoArguments {
    /// End after this long (`30s`, `2m`); without it the demo runs until Ctrl-C
    /// or the end of its data.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// Hours of the recorded series replayed per second.
    #[arg(long, value_name = "HOURS", default_value_t = 12.0)]
    pub speed: f64,
    /// Plain lines instead of charts; chosen by itself when the output is no terminal.
    #[arg(long)]
    pub plain: bool,
    /// Print the summary as one JSON object on the last line.
    #[arg(long)]
    pub json: bool,
    /// The pipeline to run instead of the shipped one; it must read the topic `grid_demand`.
    #[arg(long, value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
}

/// `tidecast forecast`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidecast forecast --input load.csv --time ts --target kw --series site --horizon 96
  tidecast forecast --input sales.parquet --time day --target units --series store --series item \\
      --horizon 28 --format csv --output forecast.csv --plot forecast.svg
  tidecast forecast --input m.jsonl --time ts --target y --horizon 24 --model seasonal-naive --season 24
  tidecast forecast --input load.csv --time ts --target kw --future-covariates temperature,holiday --horizon 24

The file runs through the same operators as a stream: rows are averaged per step (--aggregate), steps
without a row are missing for the model, and each series is forecast once, from its end.")]
pub struct ForecastArguments {
    /// The file: `.csv`, `.tsv`, `.jsonl`, `.json` or `.parquet`, the texts also as `.gz`.
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// The column with the time of a row.
    #[arg(long, value_name = "COLUMN")]
    pub time: String,
    /// The column to forecast; several, as `a,b` or repeated, are forecast together.
    #[arg(long, value_name = "COLUMN", required = true, value_delimiter = ',')]
    pub target: Vec<String>,
    /// Columns that help to forecast, known for the past only.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub past_covariates: Vec<String>,
    /// Columns that help to forecast and are known ahead: rows at the end of the
    /// file without a target hold their future values.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub future_covariates: Vec<String>,
    /// The column that names the series; repeat it for several.
    #[arg(long, value_name = "COLUMN")]
    pub series: Vec<String>,
    /// Steps to forecast.
    #[arg(long, value_name = "STEPS")]
    pub horizon: usize,
    /// Distance of two steps: `15min`, `1h`, `1d`, `1w`, `1month`, `1quarter`, `1y`, `1 business day`, or ISO
    /// 8601 (`P1M`); found in the data, for each series, when absent.
    #[arg(long, value_name = "PERIOD")]
    pub step: Option<Period>,
    /// The time zone whose days, weeks and months are meant (`Europe/Berlin`); found in the data or UTC when
    /// absent.
    #[arg(long, value_name = "ZONE", value_parser = time_zone)]
    pub time_zone: Option<Tz>,
    /// What numbers in the column of times count since 1970: `s`, `ms`, `us` or `ns`; told by the largest of
    /// them when absent.
    #[arg(long, value_name = "UNIT")]
    pub timestamp_unit: Option<EpochUnit>,
    /// How rows of one step become one value: any SQL aggregate (`avg`, `sum`, `count`, `max`, `last_value`);
    /// covariates are averaged. Of sums and counts, a first or last step that the file covers in part is
    /// left out.
    #[arg(long, value_name = "NAME", default_value = "avg")]
    pub aggregate: String,
    /// What a step without a row is; missing when absent, of a count 0.
    #[arg(long, value_enum, value_name = "VALUE")]
    pub fill: Option<Fill>,
    /// Stop if any row cannot be used.
    #[arg(long)]
    pub strict: bool,
    /// Newest steps handed to the model.
    #[arg(long, value_name = "STEPS", default_value_t = 1024)]
    pub context: usize,
    #[command(flatten)]
    pub domain: DomainArguments,
    /// Sample paths drawn; as many as suit the model when absent.
    #[arg(long, value_name = "N")]
    pub samples: Option<usize>,
    /// Also say what several steps come to: `sum` of the horizon, `max:24` of each 24 steps; `avg` and `min`
    /// likewise.
    #[arg(long = "horizon-aggregate", value_name = "AGGREGATE", value_delimiter = ',')]
    pub horizon_aggregates: Vec<HorizonAggregate>,
    /// Also write the sample paths (needs --format jsonl).
    #[arg(long)]
    pub with_samples: bool,
    /// Quantile levels.
    #[arg(long, value_name = "LEVELS", value_delimiter = ',', default_value = "0.1,0.5,0.9")]
    pub quantiles: Vec<f64>,
    /// `builtin:tiny`, a checkpoint's folder, `hf://owner/name[@revision]`, or `seasonal-naive`.
    #[arg(long, value_name = "MODEL", default_value = "builtin:tiny")]
    pub model: String,
    /// Accept the licence of weights that not everybody may use for everything (`cc-by-nc-4.0`).
    #[arg(long, value_name = "LICENCE")]
    pub accept_license: Option<String>,
    /// Season length in steps, for `seasonal-naive`.
    #[arg(long, value_name = "STEPS")]
    pub season: Option<usize>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: String,
    /// How to print the forecasts.
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub format: OutputFormat,
    /// Write them to this file instead of the terminal; its ending names the
    /// format when --format is absent.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Draw history, median and bands of the first series, each target, to this `.svg` or `.png`.
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Series to draw.
    #[arg(long, value_name = "N", default_value_t = 6)]
    pub plot_series: usize,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArguments,
}

/// How forecasts are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// A table for people.
    Table,
    /// Comma-separated, one row per series and step.
    Csv,
    /// The forecast messages, one JSON object a line.
    Jsonl,
    /// Apache Parquet, one row per series and step (needs --output).
    Parquet,
}

/// `tidecast model`.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// What a checkpoint is: shape, parameters, licence, version.
    #[command(after_help = "\
Examples:
  tidecast model info builtin:tiny
  tidecast model info models/moirai-moe-small --json
  tidecast model info hf://Salesforce/moirai-moe-1.0-R-small --accept-license cc-by-nc-4.0
  tidecast model info builtin:tiny --data load.csv --time ts --target kw --series site

With --data the newest steps of each series are forecast, and what is printed is how the tokens were spread
over the experts of each layer: entropy 1 is even, a dead expert got none. Data unlike the training's shows
in few experts that get nearly everything.

A repository of the Hugging Face hub is downloaded once, into the cache that other clients use (HF_HOME);
HF_TOKEN opens private and gated ones.")]
    Info {
        /// `builtin:tiny`, a folder with `config.json` and `model.safetensors`, or
        /// `hf://owner/name[@revision]`.
        #[arg(value_name = "MODEL")]
        model: String,
        /// Accept the licence of weights that not everybody may use for everything.
        #[arg(long, value_name = "LICENCE")]
        accept_license: Option<String>,
        /// How this file's series use the experts.
        #[command(flatten)]
        data: UsageArguments,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Measure forecasts a second, and how far that is from what the machine could do.
    Bench(Box<ModelBenchArguments>),
    /// Compare this implementation with tensors of the reference.
    #[command(after_help = "\
Example:
  tidecast model verify --model crates/moirai/tests/golden/model --golden crates/moirai/tests/golden

Prints a line per check with the largest error; the status is 1 if a tolerance is exceeded.")]
    Verify {
        /// The checkpoint's folder.
        #[arg(long, value_name = "DIR")]
        model: PathBuf,
        /// The folder with `manifest.json` and the reference's tensors.
        #[arg(long, value_name = "DIR")]
        golden: PathBuf,
        /// `auto`, `cpu`, `cuda` or `cuda:N`.
        #[arg(long, value_name = "DEVICE", default_value = "cpu")]
        device: String,
        /// How the weights are kept. The tolerances are those of `f32`.
        #[arg(long, value_name = "DTYPE", default_value = "f32")]
        dtype: Precision,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// The file whose series `tidecast model info` tries.
#[derive(Debug, Args)]
pub struct UsageArguments {
    /// Show how the series of this file use the experts: `.csv`, `.csv.gz`, `.jsonl` or `.parquet`.
    #[arg(long, value_name = "FILE", requires_all = ["time", "target"])]
    pub data: Option<PathBuf>,
    /// The column with the time of a row.
    #[arg(long, value_name = "COLUMN", requires = "data")]
    pub time: Option<String>,
    /// The column to forecast.
    #[arg(long, value_name = "COLUMN", requires = "data")]
    pub target: Option<String>,
    /// The column that names the series; repeat it for several.
    #[arg(long, value_name = "COLUMN", requires = "data")]
    pub series: Vec<String>,
}

/// `tidecast model bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidecast model bench
  tidecast model bench models/moirai-moe-small --context 512 --horizon 96 --batch 1,32 --threads 2
  tidecast model bench --context 512 --horizon 96 --batch 1 --rollout both --json

A line for each combination of context, horizon, samples and batch. The rates of matrix products and of
reading memory are measured first, with the same number of threads: no forecast can be faster than its
operations at the first, or than reading the weights once for each patch of the horizon at the second.")]
pub struct ModelBenchArguments {
    /// `builtin:tiny`, a checkpoint's folder, or `hf://owner/name[@revision]`.
    #[arg(value_name = "MODEL", default_value = "builtin:tiny")]
    pub model: String,
    /// Steps of context.
    #[arg(long, value_name = "STEPS", value_delimiter = ',', default_value = "512,2048")]
    pub context: Vec<usize>,
    /// Steps to forecast.
    #[arg(long, value_name = "STEPS", value_delimiter = ',', default_value = "96,16")]
    pub horizon: Vec<usize>,
    /// Sample paths drawn.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "16")]
    pub samples: Vec<usize>,
    /// Series forecast at once.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,32")]
    pub batch: Vec<usize>,
    /// Threads; one per core when absent.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// How a horizon longer than one patch is filled.
    #[arg(long, value_enum, default_value_t = RolloutChoice::Cached)]
    pub rollout: RolloutChoice,
    /// An option of the model as in `CREATE MODEL`, such as `sampling=independent`; may be repeated.
    #[arg(long = "model-option", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub model_options: Vec<(String, String)>,
    /// How the weights are kept in memory, `f32`, `f16` or `bf16`; as they are stored when absent.
    #[arg(long, value_name = "DTYPE")]
    pub dtype: Option<Precision>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: String,
    /// Repeats of each measurement, after one that is not counted; the median is printed.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub repeats: usize,
    /// Accept the licence of weights that not everybody may use for everything.
    #[arg(long, value_name = "LICENCE")]
    pub accept_license: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `tidecast bench`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tidecast bench\n  tidecast bench --only forecasts --json\n  tidecast bench --only delivery --kafka localhost:9092\n  tidecast bench --only warm --kafka localhost:9092"
)]
pub struct BenchArguments {
    /// Measure only this.
    #[arg(long, value_enum)]
    pub only: Option<BenchSubject>,
    /// Repeats of each measurement; the median is printed.
    #[arg(long, default_value_t = 5)]
    pub repeats: usize,
    /// A Kafka to measure delivery and warm starts on, `host:port`; topics are made there and deleted again.
    #[arg(long, value_name = "BOOTSTRAP")]
    pub kafka: Option<String>,
    /// Print one JSON object on the last line.
    #[arg(long)]
    pub json: bool,
}

/// What `tidecast bench` measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BenchSubject {
    /// Records a second from the broker through the windows, beside the bare consumer.
    Windows,
    /// Forecasts a second of the built-in model.
    Forecasts,
    /// What exactly-once costs on a Kafka, how soon forecasts can be read, and how long a
    /// restart takes.
    Delivery,
    /// What a new pipeline reads of a topic of 30 days before its first forecast, and how long
    /// that takes, with `'scan.startup.mode'='warm'` and with all of it.
    Warm,
    /// What a series takes while nothing happens, and what a close of all of them takes
    /// beside; the largest has a million series and takes some 10 GiB.
    Memory,
}
