//! The Avro schemas of forecasts.

use serde_json::{Value, json};

use super::super::long::LongColumns;
use super::super::names::identifier;
use super::super::series::{SeriesField, SeriesType};

/// Returns the schema of the nested layout.
pub(super) fn nested(pipeline: &str, series: &[SeriesField]) -> Value {
    let series = record("Series", "The values of the series columns.", series_fields(series));
    let model = json!([field("name", json!("string")), field("version", json!("string"))]);
    let context = json!([field("steps", json!("long")), field("observed", json!("long"))]);
    let model = record("Model", "The model that made it.", model);
    let context = record("Context", "Steps that the model saw.", context);
    json!({
        "type": "record",
        "name": "Forecast",
        "namespace": namespace(pipeline),
        "doc": "One forecast: a series, an origin, all steps of the horizon.",
        "fields": [
            told("forecast_id", json!("string"), "Equal for a repeat."),
            field("pipeline", json!("string")),
            field("series", series),
            told("origin", time(), "Time of the newest step of the context."),
            told("step", json!("string"), "Distance of two steps, ISO 8601."),
            may("step_ms", json!("long"), "The same in milliseconds, where it is always that."),
            list("times", time(), "The time of each step, where there is no step_ms."),
            field("model", model),
            told("status", json!("string"), "ok, too_short or failed."),
            may("reason", json!("string"), "Why there is no forecast."),
            field("context", context),
            list("variates", variate(), "One for each target."),
            told("is_backfill", json!("boolean"), "Whether it was made from history."),
        ]
    })
}

fn variate() -> Value {
    let domain = json!([
        may("lower", json!("double"), "The least value."),
        may("upper", json!("double"), "The largest value."),
        field("integer", json!("boolean")),
    ]);
    let domain = record("Domain", "The values that it was held to.", domain);
    let aggregate = json!([
        told("function", json!("string"), "sum, avg, min or max."),
        told("steps", json!("long"), "Steps of each number."),
        field("mean", values()),
        field("quantiles", by_level()),
    ]);
    let aggregate = record("Aggregate", "What several steps come to.", aggregate);
    let fields = json!([
        told("name", json!("string"), "The target column."),
        told("mean", values(), "A value per step."),
        told("quantiles", by_level(), "Values per step by level, 0.1 for one."),
        list("aggregates", aggregate, "What several steps come to, where it was asked for."),
        list("samples", values(), "Sample paths, where they were asked for."),
        may("domain", domain, "The values that it was held to, where not all were possible."),
        may("reason", json!("string"), "Why this target has no forecast."),
    ]);
    record("Variate", "The forecast of a target.", fields)
}

/// Returns the schema of the long layout.
pub(super) fn long(pipeline: &str, series: &[SeriesField], columns: &LongColumns) -> Value {
    let mut fields = vec![
        told("forecast_id", json!("string"), "Equal for all rows of a forecast and for a repeat."),
        field("pipeline", json!("string")),
    ];
    if let Value::Array(series) = series_fields(series) {
        fields.extend(series);
    }
    fields.push(told("origin", time(), "Time of the newest step of the context."));
    fields.push(may("time", time(), "What it is a forecast for."));
    fields.push(may("step", json!("long"), "1 for the first behind the origin."));
    if columns.has_aggregates {
        let doc = "sum:24 for what the 24 steps up to this one come to; missing for a single step.";
        fields.push(may("aggregate", json!("string"), doc));
    }
    fields.push(may("variate", json!("string"), "The target column."));
    fields.push(may("mean", json!("double"), ""));
    for (level, name) in columns.levels.iter().zip(&columns.quantiles) {
        let mut quantile = may(&identifier(name), json!("double"), "");
        quantile["level"] = json!(level);
        fields.push(quantile);
    }
    fields.push(told("model", json!("string"), "Name of the model that made it."));
    fields.push(told("status", json!("string"), "ok, too_short or failed."));
    fields.push(may("reason", json!("string"), "Why there is no forecast."));
    json!({
        "type": "record",
        "name": "ForecastRow",
        "namespace": namespace(pipeline),
        "doc": "One step of one target of a forecast.",
        "fields": fields
    })
}

fn namespace(pipeline: &str) -> String {
    format!("tidecast.{}", identifier(pipeline))
}

/// All may be missing: another series column is no other schema.
fn series_fields(series: &[SeriesField]) -> Value {
    let one = |field: &SeriesField| {
        let kind = match field.kind {
            SeriesType::Text => json!("string"),
            SeriesType::Integer => json!("long"),
            SeriesType::Number => json!("double"),
            SeriesType::Truth => json!("boolean"),
            SeriesType::Unsigned => {
                json!({"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 0})
            }
        };
        let mut written = may(&field.field, kind, "");
        if field.field != field.shown {
            written["column"] = json!(field.shown);
        }
        written
    };
    series.iter().map(one).collect()
}

fn record(name: &str, doc: &str, fields: Value) -> Value {
    json!({"type": "record", "name": name, "doc": doc, "fields": fields})
}

fn field(name: &str, kind: Value) -> Value {
    json!({"name": name, "type": kind})
}

fn told(name: &str, kind: Value, doc: &str) -> Value {
    let mut field = field(name, kind);
    if !doc.is_empty() {
        field["doc"] = json!(doc);
    }
    field
}

/// A field that may be missing.
fn may(name: &str, kind: Value, doc: &str) -> Value {
    let mut field = told(name, json!(["null", kind]), doc);
    field["default"] = Value::Null;
    field
}

/// A list that may be empty.
fn list(name: &str, items: Value, doc: &str) -> Value {
    let mut field = told(name, json!({"type": "array", "items": items}), doc);
    field["default"] = json!([]);
    field
}

fn time() -> Value {
    json!({"type": "long", "logicalType": "timestamp-micros"})
}

fn values() -> Value {
    json!({"type": "array", "items": ["null", "double"]})
}

fn by_level() -> Value {
    json!({"type": "map", "values": values()})
}
