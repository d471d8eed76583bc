//! What the forecasts of a pipeline look like, known before the first is made.

use arrow::datatypes::DataType;

use crate::aggregate::HorizonAggregate;

/// The parts that all forecasts of a pipeline have: what a sink with columns lays out its
/// table by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForecastSchema {
    /// The series columns, in the order the SQL names them, with the type that their
    /// values have in a [`SeriesKey`](crate::SeriesKey): text (`Utf8`), `Int64`,
    /// `UInt64`, `Float64` or `Boolean`, each of which may be missing.
    pub series: Vec<(String, DataType)>,
    /// The target columns, in the order the SQL names them.
    pub targets: Vec<String>,
    /// The levels of the quantiles, ascending, each in (0, 1).
    pub levels: Vec<f64>,
    /// Steps that are forecast.
    pub horizon: usize,
    /// What several steps come to, told beside single ones.
    pub aggregates: Vec<HorizonAggregate>,
}
