//! The state of a windower behind an offset, as an Arrow IPC file.
//!
//! A row is a series: its key columns as the view has them, its newest steps, and
//! the sums of what came before. What belongs to the partition as a whole stands
//! in the schema's metadata ([`Head`]). The accumulators of windows that are still
//! open are not in it: these windows begin at [`Head::open_from`], and reading from
//! there with the watermark of the snapshot rebuilds them to the bit, for their rows
//! come again in the same order, and all other rows are late or behind the offset.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float32Builder, Float64Builder, Int64Array, ListBuilder, RecordBatch,
    StringArray, UInt64Array, UInt64Builder,
};
use datafusion::arrow::datatypes::{
    DataType, Field, Float32Type, Float64Type, Int64Type, Schema, UInt64Type,
};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::reader::FileReader;
use datafusion::arrow::ipc::writer::FileWriter;
use serde::{Deserialize, Serialize};
use tidecast_stream::{Offset, SeriesKey, Watermark};

use super::contexts::Captured;
use super::ring::{Ring, RingParts, RunningPrior};
use super::windower::ForcedClose;
use crate::spec::PipelinePlan;

/// Version of the format.
pub(super) const FORMAT: u32 = 1;

/// The key of the head among the schema's metadata.
const HEAD: &str = "tidecast.snapshot";

/// Why a snapshot cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It is damaged, or no snapshot at all.
    #[error("damaged: {0}")]
    Damaged(String),
    /// A later version wrote it.
    #[error("written in format {found}, this version reads format {FORMAT}")]
    Format {
        /// Its format.
        found: u32,
    },
    /// It is that of another query.
    #[error("it belongs to another query or other series columns: {what} has changed")]
    Foreign {
        /// The first thing that differs.
        what: String,
    },
    /// So often was the partition idle since that not every close is known any more.
    #[error(
        "too old: windows were closed for want of records so often since that the commit \
         does not name every time any more (offset {}, say)",
        close.0
    )]
    Outlived {
        /// Where the newest close was that is not named.
        close: Offset,
    },
}

impl From<ArrowError> for SnapshotError {
    fn from(error: ArrowError) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// What a snapshot says of the partition as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Version of the format.
    pub format: u32,
    /// What the state follows from, name by name.
    pub identity: Vec<(String, String)>,
    /// Records before this offset are in it.
    pub offset: Offset,
    /// The first record of a window that was open; `None` if none was.
    pub open_from: Option<Offset>,
    /// The watermark behind the last record.
    pub watermark: Watermark,
    /// The greatest event time that moved it, in microseconds.
    pub(crate) newest_time: Option<i64>,
    /// Closed windows that contexts reach back to, and the offset of their first
    /// record.
    pub(crate) closed: Vec<(i64, i64)>,
    pub(crate) reach: Option<i64>,
    pub(crate) closes: Vec<ForcedClose>,
    pub(crate) forgotten: Option<Offset>,
    pub(crate) newest_step: Option<i64>,
    pub(crate) swept: i64,
    pub(crate) next_serial: u64,
}

/// Returns what a pipeline's state follows from. Horizon, quantiles, samples, model
/// and sink are not among it: they may change and the state stays.
pub fn state_identity(plan: &PipelinePlan) -> Vec<(String, String)> {
    let clause = &plan.forecast;
    let watermark = &plan.source.watermark;
    let columns = plan.source.schema.fields();
    let columns: Vec<String> =
        columns.iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
    [
        ("the source's columns", columns.join(", ")),
        ("the watermark", format!("{watermark:?}")),
        ("max.future", format!("{:?}", plan.source.max_future)),
        ("the window query", plan.window.describe().join("\n")),
        ("the series", clause.series.join(", ")),
        ("the time", clause.time.clone()),
        ("the step", format!("{:?}", clause.step)),
        ("the targets", clause.targets.join(", ")),
        ("the past covariates", clause.past_covariates.join(", ")),
        ("the future covariates", clause.future_covariates.join(", ")),
        ("the context", clause.context.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// Returns what windows follow from: what a pipeline cannot change and go on with the
/// windows it has. Targets, covariates and the context's length are not in it: what
/// contexts hold of them is built from the windows that are read again.
pub fn window_identity(plan: &PipelinePlan) -> [(&'static str, String); 4] {
    [
        ("the watermark", format!("{:?}", plan.source.watermark)),
        ("the window query", plan.window.describe().join("\n")),
        ("the series", plan.forecast.series.join(", ")),
        ("the time", plan.forecast.time.clone()),
    ]
}

/// Writes series and head.
pub(super) fn write(head: &Head, rings: &Captured) -> Result<Vec<u8>, ArrowError> {
    let (keys, parts) = rings.parts();
    let lists = |field: &dyn Fn(&RingParts, &mut ListBuilder<Float64Builder>)| -> ArrayRef {
        let mut builder = ListBuilder::new(Float64Builder::new());
        for part in &parts {
            field(part, &mut builder);
            builder.append(true);
        }
        Arc::new(builder.finish())
    };
    let counts = |field: &dyn Fn(&RunningPrior) -> u64| -> ArrayRef {
        let mut builder = ListBuilder::new(UInt64Builder::new());
        for part in &parts {
            part.prior.iter().for_each(|prior| builder.values().append_value(field(prior)));
            builder.append(true);
        }
        Arc::new(builder.finish())
    };
    let floats = |field: &dyn Fn(&RingParts) -> Vec<f32>| -> ArrayRef {
        let mut builder = ListBuilder::new(Float32Builder::new());
        for part in &parts {
            builder.values().append_slice(&field(part));
            builder.append(true);
        }
        Arc::new(builder.finish())
    };
    let whole = |field: &dyn Fn(&RingParts) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(parts.iter().map(field)))
    };
    let series = parts.iter().map(|part| part.key.to_string());
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("series".into(), Arc::new(StringArray::from_iter_values(series))),
        (
            "serial".into(),
            Arc::new(UInt64Array::from_iter_values(parts.iter().map(|part| part.serial))),
        ),
        ("values".into(), floats(&|part| part.columns.concat())),
        (
            "prior_sum".into(),
            lists(&|part, builder| {
                part.prior.iter().for_each(|prior| builder.values().append_value(prior.known.sum));
            }),
        ),
        ("prior_count".into(), counts(&|prior| prior.known.count)),
        ("prior_last".into(), floats(&|part| part.prior.iter().map(|p| p.known.last).collect())),
        ("prior_leading".into(), counts(&|prior| prior.leading)),
        ("observed".into(), whole(&|part| part.observed as i64)),
        ("last_step".into(), whole(&|part| part.last_step)),
        ("last_time".into(), whole(&|part| part.last_time)),
        ("last_window".into(), whole(&|part| part.last_window)),
        ("lost".into(), Arc::new(Int64Array::from_iter(parts.iter().map(|part| part.lost)))),
    ];
    let own = keys.into_iter().enumerate();
    columns.extend(own.map(|(index, column)| (format!("key.{index}"), column)));
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column)| Field::new(name, column.data_type().clone(), true))
        .collect();
    let text =
        serde_json::to_string(head).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
    let metadata = HashMap::from([(HEAD.to_owned(), text)]);
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    let mut writer = FileWriter::try_new(Vec::new(), &schema)?;
    writer.write(&batch)?;
    writer.finish()?;
    writer.into_inner()
}

/// Reads what a snapshot says of itself, and how many series it holds.
///
/// # Errors
/// If it is damaged or of a later format.
pub fn read_head(bytes: &[u8]) -> Result<(Head, usize), SnapshotError> {
    let reader = FileReader::try_new(Cursor::new(bytes), None)?;
    let head = head_of(&reader.schema())?;
    let mut series = 0;
    for batch in reader {
        series += batch?.num_rows();
    }
    Ok((head, series))
}

fn head_of(schema: &Schema) -> Result<Head, SnapshotError> {
    let damaged = |what: &str| SnapshotError::Damaged(what.to_owned());
    let text = schema.metadata().get(HEAD).ok_or_else(|| damaged("it has no head"))?;
    let format = serde_json::from_str::<serde_json::Value>(text)
        .ok()
        .and_then(|head| head.get("format")?.as_u64())
        .ok_or_else(|| damaged("its head names no format"))?;
    if format != u64::from(FORMAT) {
        return Err(SnapshotError::Format { found: format.try_into().unwrap_or(u32::MAX) });
    }
    serde_json::from_str(text).map_err(|error| damaged(&error.to_string()))
}

/// Reads a snapshot of this pipeline's state.
pub(super) fn read(
    bytes: &[u8],
    identity: &[(String, String)],
) -> Result<(Head, Vec<ArrayRef>, Vec<Ring>), SnapshotError> {
    let reader = FileReader::try_new(Cursor::new(bytes), None)?;
    let head = head_of(&reader.schema())?;
    if let Some((ours, _)) =
        identity.iter().zip(&head.identity).find(|(ours, theirs)| ours != theirs)
    {
        return Err(SnapshotError::Foreign { what: ours.0.clone() });
    }
    if identity.len() != head.identity.len() {
        return Err(SnapshotError::Foreign { what: "the version".to_owned() });
    }
    let batches = reader.collect::<Result<Vec<RecordBatch>, ArrowError>>()?;
    let [batch] = batches.as_slice() else {
        return Err(SnapshotError::Damaged("it should hold one batch".to_owned()));
    };
    let rings = Columns { batch }.rings()?;
    let keys =
        (0..).map_while(|index| batch.column_by_name(&format!("key.{index}")).cloned()).collect();
    Ok((head, keys, rings))
}

/// The columns of the series' batch.
struct Columns<'a> {
    batch: &'a RecordBatch,
}

impl Columns<'_> {
    fn column(&self, name: &str, wanted: &DataType) -> Result<&ArrayRef, SnapshotError> {
        let column = self.batch.column_by_name(name);
        let column = column.filter(|column| column.data_type() == wanted);
        column.ok_or_else(|| SnapshotError::Damaged(format!("it has no column `{name}`")))
    }

    fn whole(&self, name: &str) -> Result<&Int64Array, SnapshotError> {
        Ok(self.column(name, &DataType::Int64)?.as_primitive::<Int64Type>())
    }

    fn list(&self, name: &str, of: DataType) -> Result<Vec<ArrayRef>, SnapshotError> {
        let list = DataType::List(Arc::new(Field::new_list_field(of, true)));
        let column = self.column(name, &list)?.as_list::<i32>();
        Ok((0..column.len()).map(|row| column.value(row)).collect())
    }

    fn rings(&self) -> Result<Vec<Ring>, SnapshotError> {
        let damaged = |what: &str| SnapshotError::Damaged(what.to_owned());
        let series = self.column("series", &DataType::Utf8)?.as_string::<i32>();
        let serial = self.column("serial", &DataType::UInt64)?.as_primitive::<UInt64Type>();
        let values = self.list("values", DataType::Float32)?;
        let sums = self.list("prior_sum", DataType::Float64)?;
        let counts = self.list("prior_count", DataType::UInt64)?;
        let lasts = self.list("prior_last", DataType::Float32)?;
        let leading = self.list("prior_leading", DataType::UInt64)?;
        let (observed, last_step) = (self.whole("observed")?, self.whole("last_step")?);
        let (last_time, last_window) = (self.whole("last_time")?, self.whole("last_window")?);
        let lost = self.whole("lost")?;
        let mut rings = Vec::with_capacity(self.batch.num_rows());
        for row in 0..self.batch.num_rows() {
            let key: SeriesKey =
                serde_json::from_str(series.value(row)).map_err(|e| damaged(&e.to_string()))?;
            let sums = sums[row].as_primitive::<Float64Type>();
            let counts = counts[row].as_primitive::<UInt64Type>();
            let lasts = lasts[row].as_primitive::<Float32Type>();
            let leading = leading[row].as_primitive::<UInt64Type>();
            let targets = sums.len();
            if [counts.len(), lasts.len(), leading.len()].iter().any(|len| *len != targets) {
                return Err(damaged("its sums are not of one length"));
            }
            let prior = (0..targets).map(|target| RunningPrior {
                known: super::ring::Prior {
                    sum: sums.value(target),
                    count: counts.value(target),
                    last: lasts.value(target),
                },
                leading: leading.value(target),
            });
            rings.push(RingParts {
                serial: serial.value(row),
                key,
                columns: vec![values[row].as_primitive::<Float32Type>().values().to_vec()],
                prior: prior.collect(),
                observed: usize::try_from(observed.value(row))
                    .map_err(|_| damaged("a count is negative"))?,
                last_step: last_step.value(row),
                last_time: last_time.value(row),
                last_window: last_window.value(row),
                lost: lost.is_valid(row).then(|| lost.value(row)),
            });
        }
        rings
            .into_iter()
            .map(|parts| {
                Ring::from_parts(parts).ok_or_else(|| damaged("its values do not fit its columns"))
            })
            .collect()
    }
}
