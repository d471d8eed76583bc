//! What goes out: forecasts, late rows and dead letters as Kafka records.

use std::borrow::Cow;

use rdkafka::message::{Header, Headers, OwnedHeaders};
use tidecast_formats::forecast::ForecastEncoder;
use tidecast_stream::{
    BadRecord, ForecastEncoding, ForecastFormat, ForecastLayout, ForecastMessage, LateRecord,
    RecordPosition,
};

use crate::error::Verdict;

/// The most bytes of the reason that a letter carries: it may quote what it
/// complains of, which has no bound.
const MAX_REASON_BYTES: usize = 4_096;

/// What Kafka adds to key, payload and headers of a record at most: 36 bytes in
/// the record and 61 in the batch that holds it, counted generously.
const RECORD_OVERHEAD_BYTES: usize = 128;

/// What Kafka adds to a header's name and value at most: two lengths.
const HEADER_OVERHEAD_BYTES: usize = 10;

const PAYLOAD_MARK: &str = "truncated_from_bytes";
const KEY_MARK: &str = "truncated_key_from_bytes";

/// Room for the two marks above with numbers of 20 digits.
const MARKS_BYTES: usize = PAYLOAD_MARK.len() + KEY_MARK.len() + 2 * (20 + HEADER_OVERHEAD_BYTES);

/// A record to send.
///
/// It has no timestamp of its own, so it carries the time it was produced: a
/// forecast made from history would else be as old as its origin, and the topic's
/// retention, or the broker's check of timestamps, would remove or refuse it.
pub(crate) struct Outgoing<'a> {
    pub(crate) key: Option<Cow<'a, [u8]>>,
    pub(crate) payload: Option<Cow<'a, [u8]>>,
    pub(crate) headers: OwnedHeaders,
}

impl Outgoing<'_> {
    /// Returns the most bytes that a batch of this record alone takes,
    /// uncompressed.
    pub(crate) fn wire_bytes(&self) -> usize {
        let bytes = |part: &Option<Cow<'_, [u8]>>| part.as_ref().map_or(0, |part| part.len());
        RECORD_OVERHEAD_BYTES
            + header_bytes(&self.headers)
            + bytes(&self.key)
            + bytes(&self.payload)
    }
}

/// What a topic takes of a late row or dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LetterBounds {
    /// The most bytes of a record with everything that belongs to it.
    pub(crate) bytes: usize,
    /// Whether a record without a key is refused, as a compacted topic does.
    pub(crate) needs_key: bool,
}

/// Encodes record `index` of a forecast; the key is the series, so that a compacted topic
/// keeps each series' newest.
pub(crate) fn forecast(
    encoder: &ForecastEncoder,
    message: &ForecastMessage,
    index: usize,
) -> Result<Outgoing<'static>, Verdict> {
    let id = message.id.to_string();
    let ForecastFormat { encoding, layout } = encoder.format();
    let bytes = match (layout, encoding) {
        (ForecastLayout::Long, _) => 512,
        // A number of 8 bytes has some 18 characters.
        (ForecastLayout::Nested, ForecastEncoding::Json) => 2 * message.memory_bytes(),
        (ForecastLayout::Nested, _) => message.memory_bytes(),
    };
    let mut payload = Vec::with_capacity(bytes);
    encoder.encode(message, index, &mut payload).map_err(|error| {
        Verdict::internal(format!("forecast `{id}` as {}: {error}", encoding.name()))
    })?;
    let key = message.series.to_string().into_bytes();
    let headers = text(
        OwnedHeaders::new(),
        &[
            ("forecast_id", &id),
            ("pipeline", &message.pipeline),
            ("origin", &message.origin.to_string()),
            ("model", &message.model.name),
            ("content-type", encoding.content_type()),
        ],
    );
    Ok(Outgoing { key: Some(key.into()), payload: Some(payload.into()), headers })
}

/// Encodes a late row.
pub(crate) fn late(record: &LateRecord, bounds: LetterBounds) -> Outgoing<'_> {
    let reason = beginning(&record.reason, reason_bytes(bounds));
    let headers = text(
        position(&record.position),
        &[("reason", reason), ("content-type", "application/json")],
    );
    letter(&record.position, None, Some(record.row.as_bytes()), headers, bounds)
}

/// Encodes a dead letter: key and payload as they came, as far as they fit.
pub(crate) fn bad(record: &BadRecord, bounds: LetterBounds) -> Outgoing<'_> {
    let error = beginning(&record.error, reason_bytes(bounds));
    let headers = text(position(&record.position), &[("error", error)]);
    letter(&record.position, record.key.as_deref(), record.payload.as_deref(), headers, bounds)
}

/// Cuts key and payload to what fits beside `headers`. Where something was
/// longer, a header says how long, and the position says where all of it lies.
fn letter<'a>(
    place: &RecordPosition,
    key: Option<&'a [u8]>,
    payload: Option<&'a [u8]>,
    mut headers: OwnedHeaders,
    bounds: LetterBounds,
) -> Outgoing<'a> {
    let key = match key {
        // A key of its own, so that compaction removes no other letter.
        None if bounds.needs_key => Some(Cow::Owned(place.to_string().into_bytes())),
        key => key.map(Cow::Borrowed),
    };
    let (key_bytes, payload_bytes) =
        (key.as_ref().map_or(0, |key| key.len()), payload.map_or(0, <[u8]>::len));
    let fixed = RECORD_OVERHEAD_BYTES + MARKS_BYTES + header_bytes(&headers);
    let room = bounds.bytes.saturating_sub(fixed);
    let (key_kept, payload_kept) = share(room, key_bytes, payload_bytes);
    if payload_kept < payload_bytes {
        headers = text(headers, &[(PAYLOAD_MARK, &payload_bytes.to_string())]);
    }
    if key_kept < key_bytes {
        headers = text(headers, &[(KEY_MARK, &key_bytes.to_string())]);
    }
    let key = key.map(|key| match key {
        Cow::Borrowed(key) => Cow::Borrowed(key.get(..key_kept).unwrap_or(key)),
        Cow::Owned(mut key) => {
            key.truncate(key_kept);
            Cow::Owned(key)
        }
    });
    // Nothing that is left of a payload is still no tombstone.
    let payload = payload.map(|payload| payload.get(..payload_kept).unwrap_or(payload));
    Outgoing { key, payload: payload.map(Cow::Borrowed), headers }
}

/// Returns how many bytes of key and payload are kept in `room`: all, or of the
/// key an eighth and what the payload leaves, and of the payload the rest.
fn share(room: usize, key: usize, payload: usize) -> (usize, usize) {
    let key = key.min((room / 8).max(room.saturating_sub(payload)));
    (key, payload.min(room - key))
}

fn reason_bytes(bounds: LetterBounds) -> usize {
    MAX_REASON_BYTES.min(bounds.bytes / 4)
}

/// Returns the longest beginning of `text` within `bytes`, cut between characters.
fn beginning(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

fn header_bytes(headers: &OwnedHeaders) -> usize {
    let bytes = |header: Header<'_, &[u8]>| {
        HEADER_OVERHEAD_BYTES + header.key.len() + header.value.map_or(0, <[u8]>::len)
    };
    headers.iter().map(bytes).sum()
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use tidecast_formats::json::decode_forecast;
    use tidecast_stream::{
        ContextSummary, EventTime, ForecastId, ForecastSchema, ForecastStatus, ModelRef, Offset,
        Partition, Period, SeriesKey,
    };

    use super::*;

    const AMPLE: LetterBounds = LetterBounds { bytes: 1_000_000, needs_key: false };

    fn header(outgoing: &Outgoing<'_>, name: &str) -> Option<String> {
        let found = outgoing.headers.iter().find(|header| header.key == name)?;
        Some(String::from_utf8(found.value?.to_vec()).unwrap())
    }

    fn place() -> RecordPosition {
        RecordPosition { partition: Partition::new("in", 2), offset: Offset(7) }
    }

    fn dead(key: Option<Vec<u8>>, payload: Option<Vec<u8>>, error: &str) -> BadRecord {
        BadRecord { position: place(), key, payload, error: error.to_owned() }
    }

    #[test]
    fn a_forecast_carries_its_identity_in_headers() {
        let message = ForecastMessage {
            id: ForecastId([0xab; 16]),
            pipeline: "p".into(),
            series: SeriesKey::new([("site", "A".into())]),
            origin: EventTime::from_millis(0),
            revision: 0,
            step: Period::Fixed(60_000_000),
            times: Vec::new(),
            model: Arc::new(ModelRef { name: "tiny".to_owned(), version: "sha256:0".to_owned() }),
            status: ForecastStatus::TooShort,
            reason: Some("3 of 16 steps".to_owned()),
            context: ContextSummary { steps: 3, observed: 3 },
            variates: Vec::new(),
            is_backfill: false,
        };
        let format = ForecastFormat::default();
        let json = ForecastEncoder::new("p", &ForecastSchema::default(), format).unwrap();
        let outgoing = forecast(&json, &message, 0).unwrap();
        assert_eq!(outgoing.key.as_deref(), Some(br#"{"site":"A"}"#.as_slice()));
        assert_eq!(header(&outgoing, "origin").as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(header(&outgoing, "model").as_deref(), Some("tiny"));
        // Nobody traces a forecast: such a header would be an orphan for each reader.
        assert_eq!(header(&outgoing, "traceparent"), None);
        assert_eq!(header(&outgoing, "forecast_id"), Some("ab".repeat(16)));
        let read = decode_forecast(outgoing.payload.as_deref().unwrap()).unwrap();
        assert_eq!(read, message);
    }

    #[test]
    fn a_dead_letter_is_the_record_as_it_came_with_its_position() {
        let record = dead(Some(vec![0xff]), Some(vec![0xff, 0x00]), "not UTF-8");
        let outgoing = bad(&record, AMPLE);
        assert_eq!(outgoing.payload.as_deref(), Some([0xff, 0x00].as_slice()));
        assert_eq!(outgoing.key.as_deref(), Some([0xff].as_slice()));
        let names = ["topic", "partition", "offset", "error"];
        let values: Vec<_> = names.iter().filter_map(|name| header(&outgoing, name)).collect();
        assert_eq!(values, ["in", "2", "7", "not UTF-8"]);
        let tombstone = dead(None, None, "no payload");
        assert!(bad(&tombstone, AMPLE).payload.is_none());
        assert!(bad(&tombstone, AMPLE).key.is_none());
    }

    #[test]
    fn a_giant_is_cut_to_what_a_broker_takes() {
        let row = "x".repeat(2 << 20);
        let record = LateRecord { position: place(), row, reason: "late".to_owned() };
        let outgoing = late(&record, AMPLE);
        assert!(outgoing.wire_bytes() <= 1_000_000);
        assert!(outgoing.payload.as_ref().unwrap().len() > 990_000);
        assert_eq!(header(&outgoing, PAYLOAD_MARK).as_deref(), Some("2097152"));
        assert_eq!(header(&outgoing, KEY_MARK), None);
    }

    #[test]
    fn letter_and_key_that_fit_alone_are_cut_to_fit_together() {
        let record = dead(Some(vec![b'k'; 110_000]), Some(vec![b'x'; 915_000]), "no JSON");
        let outgoing = bad(&record, AMPLE);
        assert!(outgoing.wire_bytes() <= 1_000_000, "{}", outgoing.wire_bytes());
        // An eighth of the room is enough for this key: it is whole.
        assert_eq!(outgoing.key.as_ref().unwrap().len(), 110_000);
        assert_eq!(header(&outgoing, PAYLOAD_MARK).as_deref(), Some("915000"));
        let record = dead(Some(vec![b'k'; 915_000]), Some(vec![b'x'; 110_000]), "no JSON");
        let outgoing = bad(&record, AMPLE);
        assert_eq!(outgoing.payload.as_ref().unwrap().len(), 110_000);
        assert_eq!(header(&outgoing, KEY_MARK).as_deref(), Some("915000"));
    }

    #[test]
    fn a_compacted_topic_gets_a_key_for_each_letter() {
        let record = LateRecord { position: place(), row: "{}".into(), reason: "late".into() };
        let bounds = LetterBounds { needs_key: true, ..AMPLE };
        assert_eq!(late(&record, bounds).key.as_deref(), Some(b"in[2]@7".as_slice()));
        let keyed = dead(Some(b"own".to_vec()), None, "no payload");
        assert_eq!(bad(&keyed, bounds).key.as_deref(), Some(b"own".as_slice()));
    }

    proptest! {
        /// Whatever comes, a letter fits, and says what it lost.
        #[test]
        fn every_letter_fits_its_bounds(
            key in proptest::option::of(0_usize..30_000),
            payload in proptest::option::of(0_usize..60_000),
            error in "\\PC{0,3000}",
            bytes in 512_usize..50_000,
            needs_key: bool,
        ) {
            let filled = |bytes: Option<usize>| bytes.map(|bytes| vec![b'x'; bytes]);
            let record = dead(filled(key), filled(payload), &error);
            let outgoing = bad(&record, LetterBounds { bytes, needs_key });
            prop_assert!(outgoing.wire_bytes() <= bytes);
            let kept = |part: &Option<Cow<'_, [u8]>>| part.as_ref().map_or(0, |part| part.len());
            let payload = payload.unwrap_or(0);
            prop_assert_eq!(
                header(&outgoing, PAYLOAD_MARK),
                (kept(&outgoing.payload) < payload).then(|| payload.to_string())
            );
            if let Some(key) = key {
                let is_cut = kept(&outgoing.key) < key;
                prop_assert_eq!(header(&outgoing, KEY_MARK), is_cut.then(|| key.to_string()));
            }
        }
    }
}
