//! The columns of the long layout.

use arrow::datatypes::DataType;
use tidecast_stream::ForecastSchema;

/// Columns that there are whatever the forecast.
const FIXED: [&str; 10] = [
    "pipeline",
    "origin",
    "time",
    "step",
    "aggregate",
    "variate",
    "mean",
    "model",
    "status",
    "reason",
];

/// The column that records have and rows of files have not.
pub(super) const FORECAST_ID: &str = "forecast_id";

/// The columns that follow from a pipeline.
#[derive(Debug)]
pub(super) struct LongColumns {
    /// The series columns: name in the series, name in the row, type.
    pub(super) series: Vec<(String, String, DataType)>,
    /// Names of the quantiles' columns.
    pub(super) quantiles: Vec<String>,
    /// The levels that they are of.
    pub(super) levels: Vec<f64>,
    /// Whether there is a column `aggregate`.
    pub(super) has_aggregates: bool,
}

impl LongColumns {
    pub(super) fn new(forecasts: &ForecastSchema) -> Self {
        let (series, quantiles) = long_names(forecasts, &[FORECAST_ID]);
        let series = forecasts.series.iter().zip(series);
        Self {
            series: series.map(|((name, kind), own)| (name.clone(), own, kind.clone())).collect(),
            quantiles,
            levels: forecasts.levels.clone(),
            has_aggregates: !forecasts.aggregates.is_empty(),
        }
    }

    /// Returns the names of all columns that are no series column.
    pub(super) fn fixed<'a>() -> impl Iterator<Item = &'a str> {
        [FORECAST_ID].into_iter().chain(FIXED)
    }
}

/// Returns the names that series columns and quantiles have as columns of the long layout:
/// a series column is `series_` and its name where that is another column's, or one of
/// `more`; a quantile is `q0.1`.
pub fn long_names(forecasts: &ForecastSchema, more: &[&str]) -> (Vec<String>, Vec<String>) {
    let quantiles: Vec<String> = forecasts.levels.iter().map(|level| format!("q{level}")).collect();
    let is_series = |name: &str| forecasts.series.iter().any(|(other, _)| other == name);
    let name = |(column, _): &(String, DataType)| {
        let is_taken = |name: &String| {
            FIXED.iter().chain(more).any(|known| known == name)
                || quantiles.contains(name)
                || name != column && is_series(name)
        };
        let mut name = column.clone();
        while is_taken(&name) {
            name.insert_str(0, "series_");
        }
        name
    };
    (forecasts.series.iter().map(name).collect(), quantiles)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `series_origin` was the name of two columns.
    #[test]
    fn each_column_has_a_name_of_its_own() {
        let column = |name: &str| (name.to_owned(), DataType::Utf8);
        let series = ["site", "origin", "series_origin", "q0.1"].map(column).to_vec();
        let forecasts = ForecastSchema { series, levels: vec![0.1], ..ForecastSchema::default() };
        let (series, quantiles) = long_names(&forecasts, &["site"]);
        let expected = ["series_site", "series_series_origin", "series_origin", "series_q0.1"];
        assert_eq!(
            (series.as_slice(), quantiles.as_slice()),
            (&expected.map(String::from)[..], &["q0.1".to_owned()][..])
        );
    }
}
