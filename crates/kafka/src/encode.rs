//! What goes out: forecasts, late rows and dead letters as Kafka records.

use rdkafka::message::{Header, OwnedHeaders};
use tidecast_stream::{BadRecord, ForecastMessage, LateRecord, RecordPosition};

use crate::error::Verdict;

/// The most bytes of a late row or bad record that are passed on: below Kafka's
/// default limit of 1 MiB for a message, so that a giant cannot stop the
/// pipeline for ever. Where it was longer, a header says so, and the position
/// says where all of it lies.
const MAX_LETTER_BYTES: usize = 900 * 1_024;

/// A record to send.
///
/// It has no timestamp of its own, so it carries the time it was produced: a
/// forecast made from history would else be as old as its origin, and the topic's
/// retention, or the broker's check of timestamps, would remove or refuse it.
pub(crate) struct Outgoing {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: OwnedHeaders,
}

/// Encodes a forecast; the key is the series, so that a compacted topic keeps
/// each series' newest forecast.
pub(crate) fn forecast(message: &ForecastMessage) -> Result<Outgoing, Verdict> {
    let failed = |error: String| {
        Verdict::internal(format!("forecast `{}` is no JSON: {error}", message.forecast_id))
    };
    let payload = serde_json::to_vec(message).map_err(|error| failed(error.to_string()))?;
    let key = serde_json::to_vec(&message.series).map_err(|error| failed(error.to_string()))?;
    let headers = text(
        OwnedHeaders::new(),
        &[
            ("forecast_id", &message.forecast_id),
            ("pipeline", &message.pipeline),
            ("origin", &message.origin.to_string()),
            ("model", &message.model.name),
            ("content-type", "application/json"),
            ("traceparent", &traceparent(&message.forecast_id)),
        ],
    );
    Ok(Outgoing { key: Some(key), payload: Some(payload), headers })
}

/// Encodes a late row.
pub(crate) fn late(record: LateRecord) -> Outgoing {
    let headers = position(&record.position);
    let headers =
        text(headers, &[("reason", &record.reason), ("content-type", "application/json")]);
    let (payload, headers) = cut(record.row.into_bytes(), headers);
    Outgoing { key: None, payload: Some(payload), headers }
}

/// Encodes a dead letter: key and payload as they came.
pub(crate) fn bad(record: BadRecord) -> Outgoing {
    let headers = text(position(&record.position), &[("error", &record.error)]);
    let (payload, headers) = match record.payload {
        Some(payload) => {
            let (payload, headers) = cut(payload, headers);
            (Some(payload), headers)
        }
        None => (None, headers),
    };
    Outgoing { key: record.key.filter(|key| key.len() <= MAX_LETTER_BYTES / 8), payload, headers }
}

fn position(position: &RecordPosition) -> OwnedHeaders {
    text(
        OwnedHeaders::new(),
        &[
            ("topic", &position.partition.topic),
            ("partition", &position.partition.number.to_string()),
            ("offset", &position.offset.to_string()),
        ],
    )
}

fn text(headers: OwnedHeaders, pairs: &[(&str, &str)]) -> OwnedHeaders {
    let insert = |headers: OwnedHeaders, (key, value): &(&str, &str)| {
        headers.insert(Header { key, value: Some(*value) })
    };
    pairs.iter().fold(headers, insert)
}

fn cut(mut payload: Vec<u8>, headers: OwnedHeaders) -> (Vec<u8>, OwnedHeaders) {
    let bytes = payload.len();
    if bytes <= MAX_LETTER_BYTES {
        return (payload, headers);
    }
    payload.truncate(MAX_LETTER_BYTES);
    (payload, text(headers, &[("truncated_from_bytes", &bytes.to_string())]))
}

/// Returns a W3C trace context for a forecast, so that whoever reads it can go on
/// with the trace: a function of the id, so that a repeat has the same.
fn traceparent(forecast_id: &str) -> String {
    const VERSION: &str = "00";
    const SAMPLED: &str = "01";
    // The specification forbids ids of zeros only.
    let trace = fnv1a(forecast_id.as_bytes()).max(1);
    let span = ((trace >> 64) as u64 ^ trace as u64).max(1);
    format!("{VERSION}-{trace:032x}-{span:016x}-{SAMPLED}")
}

/// FNV-1a, 128 bits: stable between versions of Rust, unlike `DefaultHasher`.
fn fnv1a(bytes: &[u8]) -> u128 {
    const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET_BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers;
    use tidecast_stream::{
        ContextSummary, EventTime, ForecastStatus, ModelRef, Offset, Partition, SeriesKey,
    };

    use super::*;

    fn header(outgoing: &Outgoing, name: &str) -> Option<String> {
        let found = outgoing.headers.iter().find(|header| header.key == name)?;
        Some(String::from_utf8(found.value?.to_vec()).unwrap())
    }

    fn place() -> RecordPosition {
        RecordPosition { partition: Partition::new("in", 2), offset: Offset(7) }
    }

    #[test]
    fn a_forecast_carries_its_identity_in_headers() {
        let message = ForecastMessage {
            forecast_id: "abc".to_owned(),
            pipeline: "p".to_owned(),
            series: SeriesKey::new([("site", "A".into())]),
            origin: EventTime::from_millis(0),
            step: "PT1M".to_owned(),
            step_ms: Some(60_000),
            times: Vec::new(),
            model: ModelRef { name: "tiny".to_owned(), version: "sha256:0".to_owned() },
            status: ForecastStatus::TooShort,
            reason: Some("3 of 16 steps".to_owned()),
            context: ContextSummary { steps: 3, observed: 3 },
            variates: Vec::new(),
            is_backfill: false,
        };
        let outgoing = forecast(&message).unwrap();
        assert_eq!(outgoing.key.as_deref(), Some(br#"{"site":"A"}"#.as_slice()));
        assert_eq!(header(&outgoing, "origin").as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(header(&outgoing, "model").as_deref(), Some("tiny"));
        let back: ForecastMessage =
            serde_json::from_slice(outgoing.payload.as_deref().unwrap()).unwrap();
        assert_eq!(back, message);
    }

    #[test]
    fn traceparent_is_valid_and_a_function_of_the_id() {
        let parent = traceparent("abc");
        assert_eq!(parent, traceparent("abc"));
        assert_ne!(parent, traceparent("abd"));
        let parts: Vec<&str> = parent.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 32, 16, 2]);
        assert!(parts.iter().all(|part| part.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))));
    }

    #[test]
    fn fnv1a_is_the_published_function() {
        assert_eq!(fnv1a(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }

    #[test]
    fn a_dead_letter_is_the_record_as_it_came_with_its_position() {
        let record = |payload: Option<Vec<u8>>| BadRecord {
            position: place(),
            key: Some(vec![0xff]),
            payload,
            error: "not UTF-8".to_owned(),
        };
        let outgoing = bad(record(Some(vec![0xff, 0x00])));
        assert_eq!(outgoing.payload.as_deref(), Some([0xff, 0x00].as_slice()));
        assert_eq!(outgoing.key.as_deref(), Some([0xff].as_slice()));
        let names = ["topic", "partition", "offset", "error"];
        let values: Vec<_> = names.iter().filter_map(|name| header(&outgoing, name)).collect();
        assert_eq!(values, ["in", "2", "7", "not UTF-8"]);
        assert_eq!(bad(record(None)).payload, None);
    }

    #[test]
    fn a_giant_is_cut_to_what_a_broker_takes() {
        let row = "x".repeat(2 << 20);
        let outgoing = late(LateRecord { position: place(), row, reason: "late".to_owned() });
        assert!(outgoing.payload.unwrap().len() < 1_000_000);
        let size = outgoing.headers.iter().find(|header| header.key == "truncated_from_bytes");
        assert_eq!(size.unwrap().value, Some(b"2097152".as_slice()));
    }
}
