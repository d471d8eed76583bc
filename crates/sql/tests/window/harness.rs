//! Views over a small table of readings, run on a stream and as a batch.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use tidecast_sql::window::{
    CompileError, SourceTableInfo, TumbleNode, WindowOperator, WindowOutput, WindowQuery,
    to_batch_plan,
};
use tidecast_sql::{
    ForecastClause, ModelDefinition, PipelineOptions, PipelinePlan, Refresh, Session,
    SinkConnector, SinkTable, SourceConnector, SourceTable, WatermarkClause, WatermarkCondition,
};
use tidecast_stream::grid::Tz;
use tidecast_stream::{ModelOptions, Period, TimeGrid};

use crate::models::MODELS;

/// One record of the table `readings`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    pub site: &'static str,
    pub kw: Option<f64>,
    pub n: Option<i64>,
    pub flag: Option<bool>,
    /// Microseconds; `None` is a null.
    pub ts: Option<i64>,
}

/// Returns a reading with nothing but a site, a value and a time in seconds.
pub(crate) fn reading(site: &'static str, kw: f64, seconds: i64) -> Reading {
    Reading { site, kw: Some(kw), n: Some(0), flag: None, ts: Some(seconds * 1_000_000) }
}

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("site", DataType::Utf8, false),
        Field::new("kw", DataType::Float64, true),
        Field::new("n", DataType::Int64, true),
        Field::new("flag", DataType::Boolean, true),
        Field::new("ts", instant(), true),
    ]))
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

pub(crate) fn batch(readings: &[Reading]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(readings.iter().map(|r| r.site))),
        Arc::new(readings.iter().map(|r| r.kw).collect::<Float64Array>()),
        Arc::new(readings.iter().map(|r| r.n).collect::<Int64Array>()),
        Arc::new(readings.iter().map(|r| r.flag).collect::<BooleanArray>()),
        Arc::new(readings.iter().map(|r| r.ts).collect::<TimestampMicrosecondArray>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// A view `SELECT … FROM windowed …`, where `windowed` is
/// `TUMBLE(TABLE readings, DESCRIPTOR(ts), …)`.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub sql: String,
    pub size_micros: i64,
    pub offset_micros: i64,
    /// Windows of a calendar instead.
    pub calendar: Option<TimeGrid>,
    pub delay_micros: i64,
    pub max_future_micros: Option<i64>,
    pub max_past_micros: Option<i64>,
    /// Whether the source ends.
    pub is_bounded: bool,
    /// Which rows move the watermark.
    pub moves_if: Option<String>,
}

impl View {
    /// Ten-second windows, two seconds of delay.
    pub(crate) fn new(sql: impl Into<String>) -> Self {
        Self {
            sql: sql.into(),
            size_micros: 10_000_000,
            offset_micros: 0,
            calendar: None,
            delay_micros: 2_000_000,
            max_future_micros: None,
            max_past_micros: None,
            is_bounded: false,
            moves_if: None,
        }
    }

    pub(crate) fn grid(&self) -> TimeGrid {
        let fixed = || TimeGrid::new(Period::Fixed(self.size_micros), self.offset_micros, Tz::UTC);
        self.calendar.unwrap_or_else(fixed)
    }

    pub(crate) fn source(&self) -> SourceTableInfo {
        SourceTableInfo {
            schema: schema(),
            event_time: "ts".to_owned(),
            delay_micros: self.delay_micros,
            watermark_condition: self.moves_if.as_deref().map(condition),
            max_future_micros: self.max_future_micros,
            max_past_micros: self.max_past_micros,
            is_bounded: self.is_bounded,
        }
    }

    pub(crate) fn compile(&self) -> Result<WindowQuery, CompileError> {
        let context = session(&[]);
        let plan = self.plan(&context);
        WindowQuery::compile(&plan, &Session::default(), &self.source())
    }

    pub(crate) fn operator(&self) -> WindowOperator {
        WindowOperator::new(&self.compile().unwrap()).unwrap()
    }

    /// Runs the view over all rows at once by DataFusion alone.
    pub(crate) fn run_as_batch(&self, readings: &[Reading]) -> RecordBatch {
        let context = session(readings);
        let plan = to_batch_plan(self.plan(&context)).unwrap();
        let schema = Arc::clone(plan.schema().inner());
        let batches = wait(async { context.execute_logical_plan(plan).await?.collect().await });
        concat_batches(&schema, &batches.unwrap()).unwrap()
    }

    /// The analyzed plan, with the window where `windowed` is read.
    fn plan(&self, context: &SessionContext) -> LogicalPlan {
        let state = context.state();
        let plan = wait(state.create_logical_plan(&self.sql)).unwrap();
        let readings = wait(context.table("readings")).unwrap().into_unoptimized_plan();
        let plan = plan.transform_up(|node| match &node {
            LogicalPlan::TableScan(scan) if scan.table_name.table() == "windowed" => {
                let tumble = TumbleNode::try_new(readings.clone(), "ts", self.grid())?;
                let aliased = LogicalPlanBuilder::from(tumble.into_plan()).alias("windowed")?;
                Ok(Transformed::yes(aliased.build()?))
            }
            _ => Ok(Transformed::no(node)),
        });
        let plan = plan.unwrap().data;
        state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).unwrap()
    }

    /// A pipeline over this view, whose columns are `site`, `t` and `kw`.
    pub(crate) fn pipeline(&self, context: usize, refresh: Refresh) -> PipelinePlan {
        PipelinePlan {
            name: "test".to_owned(),
            source: SourceTable {
                name: "readings".to_owned(),
                schema: schema(),
                metadata: Vec::new(),
                fields: Vec::new(),
                watermark: WatermarkClause {
                    column: "ts".to_owned(),
                    delay: Duration::from_micros(self.delay_micros as u64),
                    condition: None,
                },
                connector: SourceConnector::Kafka(Box::new(tidecast_sql::KafkaSourceOptions {
                    topic: "readings".to_owned(),
                    format: tidecast_stream::ValueFormat::Json,
                    schema_registry: tidecast_stream::ClientProperties::default(),
                    tombstones: tidecast_stream::Tombstones::Bad,
                    bootstrap_servers: None,
                    group_id: None,
                    startup: tidecast_sql::StartupMode::Earliest,
                    lost_records: tidecast_sql::LostRecords::Skip,
                    idle_timeout: None,
                    late_topic: None,
                    bad_topic: None,
                    properties: tidecast_stream::ClientProperties::default(),
                })),
                max_past: None,
                max_future: self.max_future_micros.map(|bound| Duration::from_micros(bound as u64)),
                timestamp_unit: None,
            },
            window: self.compile().unwrap(),
            forecast: ForecastClause {
                series: vec!["site".to_owned()],
                time: "t".to_owned(),
                targets: vec!["kw".to_owned()],
                past_covariates: Vec::new(),
                future_covariates: Vec::new(),
                step: self.grid(),
                zero_filled: vec![false],
                unfilled_sums: Vec::new(),
                horizon: 1,
                context,
                min_context: 1,
                samples: Some(1),
                domain: tidecast_stream::DomainRule::default(),
                quantiles: vec![0.5],
                aggregates: Vec::new(),
                tells_samples: false,
                refresh,
            },
            model: ModelDefinition {
                name: "tiny".to_owned(),
                family: MODELS.family("seasonal-naive").unwrap(),
                options: ModelOptions::default(),
            },
            sink: SinkTable { name: "out".to_owned(), connector: SinkConnector::Stdout },
            options: PipelineOptions::default(),
        }
    }
}

/// Compiles a condition over the columns of `readings`.
fn condition(text: &str) -> WatermarkCondition {
    let state = session(&[]).state();
    let query = format!("SELECT * FROM readings WHERE {text}");
    let plan = wait(state.create_logical_plan(&query)).unwrap();
    let options = state.config_options();
    let plan = state.analyzer().execute_and_check(plan, options, |_, _| {}).unwrap();
    WatermarkCondition::compile(&plan, &Session::default(), text).unwrap()
}

fn session(readings: &[Reading]) -> SessionContext {
    // One partition and no cutting into batches: rows are aggregated in order.
    let config = SessionConfig::new()
        .with_target_partitions(1)
        .with_batch_size(1 << 20)
        .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false);
    let context = SessionContext::new_with_config(config);
    let table = MemTable::try_new(schema(), vec![vec![batch(readings)]]).unwrap();
    context.register_table("readings", Arc::new(table)).unwrap();
    let mut fields = schema().fields().to_vec();
    for name in ["window_start", "window_end"] {
        fields.push(Arc::new(Field::new(name, instant(), false)));
    }
    let windowed = MemTable::try_new(Arc::new(Schema::new(fields)), vec![vec![]]).unwrap();
    context.register_table("windowed", Arc::new(windowed)).unwrap();
    context
}

fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// What a whole stream led to; late and rejected rows by their offset.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    /// Start, end and first offset of each closed window, and its rows.
    pub closed: Vec<(i64, i64, i64, RecordBatch)>,
    pub late: Vec<(i64, String)>,
    pub rejected: Vec<(i64, String)>,
    pub failed: Vec<String>,
}

impl Outcome {
    pub(crate) fn add(&mut self, output: WindowOutput, first_offset: i64) {
        self.closed.extend(output.closed.into_iter().map(|window| {
            let (start, end) = (window.start.as_micros(), window.end.as_micros());
            (start, end, window.first_offset.0, window.rows)
        }));
        self.late.extend(output.late.into_iter().map(|late| {
            let text = format!("{} {:?}", late.window_end, late.watermark.event_time());
            (late.row as i64 + first_offset, text)
        }));
        self.rejected
            .extend(output.rejected.into_iter().map(|r| (r.row as i64 + first_offset, r.reason)));
        self.failed.extend(
            output.failed.into_iter().map(|failed| {
                format!("{} {:?} {}", failed.window_end, failed.group, failed.reason)
            }),
        );
    }

    /// All rows of all windows, in the order they came out.
    pub(crate) fn rows(&self, schema: &SchemaRef) -> RecordBatch {
        concat_batches(schema, self.closed.iter().map(|(_, _, _, rows)| rows)).unwrap()
    }
}

/// Runs a stream in the batches given; offsets are indices.
pub(crate) fn run(
    operator: &mut WindowOperator,
    readings: &[Reading],
    cuts: &[Range<usize>],
) -> Outcome {
    let mut outcome = feed(operator, readings, cuts);
    outcome.add(operator.close_all().unwrap(), 0);
    outcome
}

/// Runs a part of a stream in the batches given.
pub(crate) fn feed(
    operator: &mut WindowOperator,
    readings: &[Reading],
    cuts: &[Range<usize>],
) -> Outcome {
    let mut outcome = Outcome::default();
    for cut in cuts {
        let rows = batch(&readings[cut.clone()]);
        let offsets = Int64Array::from_iter_values(cut.start as i64..cut.end as i64);
        let timestamps = Int64Array::from(vec![None; cut.len()]);
        let output = operator.push(&rows, &offsets, &timestamps).unwrap();
        outcome.add(output, cut.start as i64);
    }
    outcome
}

/// Returns ranges that cover `0..length`, cut at `cuts`.
pub(crate) fn ranges(length: usize, cuts: &[usize]) -> Vec<Range<usize>> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (length + 1)).collect();
    cuts.extend([0, length]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

/// Sorts rows by their text, to compare what has no order.
pub(crate) fn sorted(rows: &RecordBatch) -> RecordBatch {
    let text = |row: usize| {
        let row = rows.slice(row, 1);
        arrow::util::pretty::pretty_format_batches(&[row]).unwrap().to_string()
    };
    let mut order: Vec<usize> = (0..rows.num_rows()).collect();
    order.sort_by_cached_key(|row| text(*row));
    let order = UInt32Array::from_iter_values(order.into_iter().map(|row| row as u32));
    take_record_batch(rows, &order).unwrap()
}

/// Returns the values of a column of floats.
pub(crate) fn floats(rows: &RecordBatch, column: &str) -> Vec<Option<f64>> {
    let column = rows.column_by_name(column).unwrap();
    column.as_any().downcast_ref::<Float64Array>().unwrap().iter().collect()
}
