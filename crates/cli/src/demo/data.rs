//! The recorded series that the demo replays.

use std::io::Read;

use flate2::read::GzDecoder;

use tidecast_files::time::parse_time;
use tidecast_stream::EventTime;

/// `timestamp,series_id,value`, in time order; see `data/demo/README.md`.
const REPLAY: &[u8] = include_bytes!("../../data/demo/replay.csv.gz");
const FILE: &str = "data/demo/replay.csv.gz";

/// One hour of one region.
#[derive(Debug, Clone, PartialEq)]
pub struct DemoRecord {
    /// The hour.
    pub time: EventTime,
    /// The region's short name, such as `CAL`.
    pub series: String,
    /// Demand in MW.
    pub value: f64,
}

/// The built-in data are not as expected: a bug of ours.
#[derive(Debug, thiserror::Error)]
#[error("built-in `{FILE}` line {line}: {reason}")]
pub struct DemoDataError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// Returns all records, in time order.
///
/// # Errors
/// If the built-in file is broken.
pub fn records() -> Result<Vec<DemoRecord>, DemoDataError> {
    let failed = |line: usize, reason: String| DemoDataError { line, reason };
    let mut text = String::new();
    GzDecoder::new(REPLAY)
        .read_to_string(&mut text)
        .map_err(|error| failed(0, error.to_string()))?;
    let mut records = Vec::new();
    for (index, line) in text.lines().enumerate().skip(1) {
        let wrong = || failed(index + 1, format!("`{line}`: expected timestamp,series_id,value"));
        let mut fields = line.split(',');
        let (Some(time), Some(series_id), Some(value), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(wrong());
        };
        records.push(DemoRecord {
            time: parse_time(time).ok_or_else(wrong)?,
            series: series_id.rsplit('/').next().unwrap_or(series_id).to_owned(),
            value: value.parse().map_err(|_| wrong())?,
        });
    }
    Ok(records)
}

/// Returns the region's name in full, or the short name if we know no other.
pub fn region_name(series: &str) -> &str {
    match series {
        "CAL" => "California",
        "FLA" => "Florida",
        "NE" => "New England",
        "NW" => "Northwest",
        "NY" => "New York",
        "TEX" => "Texas",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn six_regions_hour_by_hour() {
        let records = records().unwrap();
        let mut by_series: BTreeMap<&str, Vec<&DemoRecord>> = BTreeMap::new();
        for record in &records {
            by_series.entry(&record.series).or_default().push(record);
        }
        assert_eq!(
            by_series.keys().copied().collect::<Vec<_>>(),
            ["CAL", "FLA", "NE", "NW", "NY", "TEX"]
        );
        assert!(records.is_sorted_by_key(|record| record.time));
        for (series, records) in by_series {
            assert_eq!(records.len(), 61 * 24, "{series}");
            assert!(records.iter().all(|record| record.value > 0.0), "{series}");
            assert_ne!(region_name(series), series);
            for pair in records.windows(2) {
                assert_eq!(pair[0].time.plus_micros(3_600_000_000), pair[1].time, "{series}");
            }
        }
    }
}
