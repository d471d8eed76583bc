//! What a record is beyond its value, as the texts that columns are made of.

use std::borrow::Cow;

use tidecast_stream::{EventTime, Partition, RecordMetadata};

use crate::native::Message;

/// Returns a part of a message as text; `None` if it has none.
///
/// # Errors
/// If it is no text, with the reason.
pub(super) fn text<'a>(
    message: &Message<'a>,
    partition: &Partition,
    from: &RecordMetadata,
) -> Result<Option<Cow<'a, str>>, String> {
    let utf8 = |bytes: &'a [u8], what: &str| {
        std::str::from_utf8(bytes)
            .map(Cow::Borrowed)
            .map_err(|_| format!("{what} is not UTF-8 (`{}`): expected text", bytes.escape_ascii()))
    };
    let owned = |text: String| Ok(Some(Cow::Owned(text)));
    match from {
        RecordMetadata::Key => message.key().map(|key| utf8(key, "the key")).transpose(),
        RecordMetadata::Header(name) => {
            let header = message.header(name);
            header.map(|value| utf8(value, &format!("the header `{name}`"))).transpose()
        }
        // As text, so that it is of no unit.
        RecordMetadata::Timestamp => {
            let time = message.timestamp_ms().map(EventTime::from_millis);
            Ok(time.map(|time| Cow::Owned(time.to_string())))
        }
        RecordMetadata::Partition => owned(partition.number.to_string()),
        RecordMetadata::Offset => owned(message.offset().to_string()),
        RecordMetadata::Topic => owned(partition.topic.to_string()),
    }
}
