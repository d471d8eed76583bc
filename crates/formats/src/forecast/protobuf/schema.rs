//! The Protobuf schemas of forecasts.

use std::fmt::Write as _;

use super::super::names::identifier;
use super::super::series::{SeriesField, SeriesType};
use super::{QuantileField, SERIES};

/// Returns the schema of the nested layout.
pub(super) fn nested(pipeline: &str, series: &[SeriesField]) -> String {
    let series = series_fields(series, 1, "    ");
    format!(
        r#"{head}
// One forecast: a series, an origin, all steps of the horizon.
message Forecast {{
  // Equal for a repeat.
  string forecast_id = 1 [json_name = "forecast_id"];
  string pipeline = 2;
  Series series = 3;
  // Time of the newest step of the context.
  google.protobuf.Timestamp origin = 4;
  // Distance of two steps, ISO 8601.
  string step = 5;
  // The same in milliseconds, where it is always that.
  optional int64 step_ms = 6 [json_name = "step_ms"];
  // The time of each step, where there is no step_ms.
  repeated google.protobuf.Timestamp times = 7;
  Model model = 8;
  // ok, too_short or failed.
  string status = 9;
  // Why there is no forecast.
  optional string reason = 10;
  Context context = 11;
  // One for each target.
  repeated Variate variates = 12;
  // Whether it was made from history.
  bool is_backfill = 13 [json_name = "is_backfill"];

  // The values of the series columns.
  message Series {{
{series}  }}
  // The model that made it.
  message Model {{
    string name = 1;
    string version = 2;
  }}
  // Steps that the model saw.
  message Context {{
    int64 steps = 1;
    int64 observed = 2;
  }}
  // The forecast of a target.
  message Variate {{
    string name = 1;
    // A value per step; NaN where it is beyond all numbers.
    repeated double mean = 2;
    // By level, 0.1 for one.
    map<string, Values> quantiles = 3;
    // What several steps come to, where it was asked for.
    repeated Aggregate aggregates = 4;
    // Sample paths, where they were asked for.
    repeated Values samples = 5;
    // The values that it was held to, where not all were possible.
    Domain domain = 6;
    // Why this target has no forecast.
    optional string reason = 7;
  }}
  message Values {{
    repeated double values = 1;
  }}
  message Aggregate {{
    // sum, avg, min or max.
    string function = 1;
    // Steps of each number.
    int64 steps = 2;
    repeated double mean = 3;
    map<string, Values> quantiles = 4;
  }}
  message Domain {{
    optional double lower = 1;
    optional double upper = 2;
    bool integer = 3;
  }}
}}
"#,
        head = head(pipeline),
    )
}

/// Returns the schema of the long layout.
pub(super) fn long(
    pipeline: &str,
    series: &[SeriesField],
    quantiles: &[QuantileField],
    has_aggregates: bool,
) -> String {
    let aggregate = match has_aggregates {
        true => {
            "  // sum:24 for what the 24 steps up to this one come to; missing for a single step.\n  \
             optional string aggregate = 6;\n"
        }
        false => "",
    };
    let mut levels = String::new();
    for QuantileField { column, name, number } in quantiles {
        let named = json_name(column, name);
        // Writing to a string cannot fail.
        let _infallible = writeln!(levels, "  optional double {name} = {number}{named};");
    }
    format!(
        r#"{head}
// One step of one target of a forecast.
message ForecastRow {{
  // Equal for all rows of a forecast and for a repeat.
  string forecast_id = 1 [json_name = "forecast_id"];
  string pipeline = 2;
{series}  // Time of the newest step of the context.
  google.protobuf.Timestamp origin = 3;
  // What it is a forecast for.
  google.protobuf.Timestamp time = 4;
  // 1 for the first behind the origin.
  optional int64 step = 5;
{aggregate}  // The target column.
  optional string variate = 7;
  optional double mean = 8;
{levels}  // Name of the model that made it.
  string model = 9;
  // ok, too_short or failed.
  string status = 10;
  // Why there is no forecast.
  optional string reason = 11;
}}
"#,
        head = head(pipeline),
        series = series_fields(series, SERIES, "  "),
    )
}

fn head(pipeline: &str) -> String {
    format!(
        "syntax = \"proto3\";\n\npackage tidecast.{};\n\nimport \
         \"google/protobuf/timestamp.proto\";\n",
        identifier(pipeline)
    )
}

fn series_fields(series: &[SeriesField], first: u32, indent: &str) -> String {
    let mut text = String::new();
    for (number, SeriesField { shown, field, kind, .. }) in (first..).zip(series) {
        let kind = match kind {
            SeriesType::Text => "string",
            SeriesType::Integer => "int64",
            SeriesType::Unsigned => "uint64",
            SeriesType::Number => "double",
            SeriesType::Truth => "bool",
        };
        let named = json_name(shown, field);
        let _infallible = writeln!(text, "{indent}optional {kind} {field} = {number}{named};");
    }
    text
}

/// Names the column in JSON as JSON does, where Protobuf would do otherwise.
fn json_name(column: &str, field: &str) -> String {
    // What protoc takes for the name of an extension.
    let is_odd = column.is_empty() || column.starts_with('[') || column.contains('\0');
    if is_odd || column == field && !field.contains('_') {
        return String::new();
    }
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_ascii_control() => format!("\\{:03o}", u32::from(c)),
        c => c.to_string(),
    };
    format!(" [json_name = \"{}\"]", column.chars().map(escaped).collect::<String>())
}
