//! Rows of the long layout as JSON: an object with all columns, null where one is missing.

use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;

use super::ForecastEncodeError;
use super::long::{FORECAST_ID, LongColumns};
use super::rows::ForecastRow;
use super::series::check_known;

/// Appends a row to `out`.
pub(super) fn row(
    columns: &LongColumns,
    row: &ForecastRow<'_>,
    out: &mut Vec<u8>,
) -> Result<(), ForecastEncodeError> {
    let message = row.message;
    row.check_levels(&columns.levels)?;
    check_known(&message.series, columns.series.iter().map(|(name, ..)| name.as_str()))?;
    let mut serializer = serde_json::Serializer::new(out);
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry(FORECAST_ID, &message.id.to_string())?;
    map.serialize_entry("pipeline", &*message.pipeline)?;
    for (name, own, _) in &columns.series {
        map.serialize_entry(own, message.series.0.get(name).unwrap_or(&Value::Null))?;
    }
    map.serialize_entry("origin", &message.origin)?;
    map.serialize_entry("time", &row.time())?;
    map.serialize_entry("step", &row.step())?;
    if columns.has_aggregates {
        map.serialize_entry("aggregate", &row.aggregate().map(|it| it.to_string()))?;
    }
    map.serialize_entry("variate", &row.variate.map(|variate| &*variate.name))?;
    map.serialize_entry("mean", &row.mean())?;
    for (level, name) in columns.quantiles.iter().enumerate() {
        map.serialize_entry(name, &row.quantile(level))?;
    }
    map.serialize_entry("model", &message.model.name)?;
    map.serialize_entry("status", message.status.as_str())?;
    map.serialize_entry("reason", &row.reason())?;
    Ok(map.end()?)
}
