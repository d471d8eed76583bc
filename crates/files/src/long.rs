//! The long form of forecasts: one row per step and variate.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder, UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde_json::Value;

use tidecast_formats::forecast::{ForecastRow, RowError, long_names, rows as forecast_rows};
use tidecast_stream::{EventTime, ForecastMessage, ForecastSchema};

use crate::error::FileError;

/// The columns of the long form, for the forecasts of one pipeline.
///
/// | column | type | what it is |
/// |--------|------|------------|
/// | `pipeline` | text | the pipeline |
/// | one per series column | text, integer, number or truth value | the series; `series_` stands before a name that is taken |
/// | `origin` | UTC timestamp | time of the newest step of the context |
/// | `time` | UTC timestamp | what the row is a forecast for |
/// | `step` | integer | 1 for the first step behind the origin |
/// | `aggregate` | text | only where aggregates are told: `sum:24` for what the 24 steps up to this one come to; missing for a single step |
/// | `variate` | text | the target column |
/// | `mean` | number | |
/// | `q0.1`, … | number | one per quantile level, ascending |
/// | `model`, `status`, `reason` | text | how it came about |
///
/// What several steps come to are rows behind those of the steps. Sample paths have no
/// column.
///
/// A message without forecasts (too short, failed) is one row in which `time` to
/// the last quantile are missing. A value that is not finite is missing, too.
#[derive(Clone, Debug, PartialEq)]
pub struct LongTable {
    series: Vec<(String, DataType)>,
    levels: Vec<f64>,
    has_aggregates: bool,
    schema: SchemaRef,
}

impl LongTable {
    /// Returns the table that holds the forecasts of this schema.
    pub fn new(forecasts: &ForecastSchema) -> Self {
        let column = |(name, data_type): &(String, DataType)| match data_type {
            DataType::Int64 | DataType::UInt64 | DataType::Float64 | DataType::Boolean => {
                (name.clone(), data_type.clone())
            }
            _ => (name.clone(), DataType::Utf8),
        };
        let series: Vec<_> = forecasts.series.iter().map(column).collect();
        let has_aggregates = !forecasts.aggregates.is_empty();
        let schema = schema(forecasts, &series, has_aggregates);
        Self { series, levels: forecasts.levels.clone(), has_aggregates, schema }
    }

    /// Returns the columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Returns the messages as rows, in their order.
    ///
    /// # Errors
    /// If a message has a series column that the table lacks, other quantile levels, or a
    /// series value of another type; `target` is named in the error.
    pub fn rows(
        &self,
        messages: &[ForecastMessage],
        target: &str,
    ) -> Result<RecordBatch, FileError> {
        let mut rows = Rows::new(self);
        for message in messages {
            let failed = |reason| FileError::Layout {
                target: target.to_owned(),
                series: message.series.to_string(),
                reason,
            };
            self.check(message).map_err(failed)?;
            for row in forecast_rows(message, self.has_aggregates) {
                row.check_levels(&self.levels).map_err(|error| failed(error.to_string()))?;
                rows.push(self, &row).map_err(failed)?;
            }
        }
        rows.finish(self)
    }

    fn check(&self, message: &ForecastMessage) -> Result<(), String> {
        let known = |name: &String| self.series.iter().any(|(known, _)| known == name);
        match message.series.0.keys().find(|name| !known(name)) {
            Some(name) => Err(RowError::Series { name: name.clone() }.to_string()),
            None => Ok(()),
        }
    }
}

fn schema(
    forecasts: &ForecastSchema,
    series: &[(String, DataType)],
    has_aggregates: bool,
) -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let (names, quantiles) = long_names(forecasts, &[]);
    let mut fields = vec![Field::new("pipeline", DataType::Utf8, false)];
    for ((_, data_type), name) in series.iter().zip(names) {
        fields.push(Field::new(name, data_type.clone(), true));
    }
    fields.push(Field::new("origin", time.clone(), false));
    fields.push(Field::new("time", time, true));
    fields.push(Field::new("step", DataType::Int64, true));
    if has_aggregates {
        fields.push(Field::new("aggregate", DataType::Utf8, true));
    }
    fields.push(Field::new("variate", DataType::Utf8, true));
    fields.push(Field::new("mean", DataType::Float64, true));
    fields.extend(quantiles.into_iter().map(|name| Field::new(name, DataType::Float64, true)));
    fields.push(Field::new("model", DataType::Utf8, false));
    fields.push(Field::new("status", DataType::Utf8, false));
    fields.push(Field::new("reason", DataType::Utf8, true));
    Arc::new(Schema::new(fields))
}

/// A series column under way.
enum SeriesBuilder {
    Text(StringBuilder),
    Integer(Int64Builder),
    Unsigned(UInt64Builder),
    Number(Float64Builder),
    Truth(BooleanBuilder),
}

impl SeriesBuilder {
    fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::Int64 => Self::Integer(Int64Builder::new()),
            DataType::UInt64 => Self::Unsigned(UInt64Builder::new()),
            DataType::Float64 => Self::Number(Float64Builder::new()),
            DataType::Boolean => Self::Truth(BooleanBuilder::new()),
            _ => Self::Text(StringBuilder::new()),
        }
    }

    fn push(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let misfit = |wanted: &str| {
            format!("`{value}` in series column `{name}` is no {wanted}, which the column is of")
        };
        match (self, value) {
            (Self::Text(builder), Value::Null) => builder.append_null(),
            (Self::Text(builder), Value::String(text)) => builder.append_value(text),
            (Self::Text(builder), other) => builder.append_value(other.to_string()),
            (Self::Integer(builder), Value::Null) => builder.append_null(),
            (Self::Integer(builder), value) => {
                builder.append_value(value.as_i64().ok_or_else(|| misfit("integer"))?);
            }
            (Self::Unsigned(builder), Value::Null) => builder.append_null(),
            (Self::Unsigned(builder), value) => {
                builder.append_value(value.as_u64().ok_or_else(|| misfit("integer above -1"))?);
            }
            (Self::Number(builder), Value::Null) => builder.append_null(),
            (Self::Number(builder), value) => {
                builder.append_value(value.as_f64().ok_or_else(|| misfit("number"))?);
            }
            (Self::Truth(builder), Value::Null) => builder.append_null(),
            (Self::Truth(builder), value) => {
                builder.append_value(value.as_bool().ok_or_else(|| misfit("truth value"))?);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Integer(builder) => Arc::new(builder.finish()),
            Self::Unsigned(builder) => Arc::new(builder.finish()),
            Self::Number(builder) => Arc::new(builder.finish()),
            Self::Truth(builder) => Arc::new(builder.finish()),
        }
    }
}

struct Rows {
    pipeline: StringBuilder,
    series: Vec<SeriesBuilder>,
    origin: TimestampMicrosecondBuilder,
    time: TimestampMicrosecondBuilder,
    step: Int64Builder,
    aggregate: StringBuilder,
    variate: StringBuilder,
    mean: Float64Builder,
    quantiles: Vec<Float64Builder>,
    model: StringBuilder,
    status: StringBuilder,
    reason: StringBuilder,
}

impl Rows {
    fn new(table: &LongTable) -> Self {
        Self {
            pipeline: StringBuilder::new(),
            series: table.series.iter().map(|(_, kind)| SeriesBuilder::new(kind)).collect(),
            origin: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            time: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            step: Int64Builder::new(),
            aggregate: StringBuilder::new(),
            variate: StringBuilder::new(),
            mean: Float64Builder::new(),
            quantiles: table.levels.iter().map(|_| Float64Builder::new()).collect(),
            model: StringBuilder::new(),
            status: StringBuilder::new(),
            reason: StringBuilder::new(),
        }
    }

    fn push(&mut self, table: &LongTable, row: &ForecastRow<'_>) -> Result<(), String> {
        let message = row.message;
        self.pipeline.append_value(&message.pipeline);
        for ((name, _), builder) in table.series.iter().zip(&mut self.series) {
            builder.push(name, message.series.0.get(name).unwrap_or(&Value::Null))?;
        }
        self.origin.append_value(message.origin.as_micros());
        self.time.append_option(row.time().map(EventTime::as_micros));
        self.step.append_option(row.step().map(|step| i64::try_from(step).unwrap_or(i64::MAX)));
        self.aggregate.append_option(row.aggregate().map(|aggregate| aggregate.to_string()));
        self.variate.append_option(row.variate.map(|variate| &variate.name));
        self.mean.append_option(row.mean());
        for (level, builder) in self.quantiles.iter_mut().enumerate() {
            builder.append_option(row.quantile(level));
        }
        self.model.append_value(&message.model.name);
        self.status.append_value(message.status.as_str());
        self.reason.append_option(row.reason());
        Ok(())
    }

    fn finish(mut self, table: &LongTable) -> Result<RecordBatch, FileError> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.pipeline.finish())];
        columns.extend(self.series.iter_mut().map(SeriesBuilder::finish));
        columns.push(Arc::new(self.origin.finish()));
        columns.push(Arc::new(self.time.finish()));
        columns.push(Arc::new(self.step.finish()));
        if table.has_aggregates {
            columns.push(Arc::new(self.aggregate.finish()));
        }
        columns.push(Arc::new(self.variate.finish()));
        columns.push(Arc::new(self.mean.finish()));
        for builder in &mut self.quantiles {
            columns.push(Arc::new(builder.finish()));
        }
        columns.push(Arc::new(self.model.finish()));
        columns.push(Arc::new(self.status.finish()));
        columns.push(Arc::new(self.reason.finish()));
        Ok(RecordBatch::try_new(table.schema.clone(), columns)?)
    }
}
