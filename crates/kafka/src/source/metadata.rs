//! What a record is beyond its value, as the texts that columns are made of.

use std::borrow::Cow;

use tidecast_stream::{EventTime, Partition, RecordMetadata};

use crate::native::Message;

/// What stands beside a record's value.
pub(crate) trait Beside<'a> {
    fn key(&self) -> Option<&'a [u8]>;
    fn header(&self, name: &str) -> Option<&'a [u8]>;
    fn timestamp_ms(&self) -> Option<i64>;
    fn offset(&self) -> i64;
}

impl<'a> Beside<'a> for Message<'a> {
    fn key(&self) -> Option<&'a [u8]> {
        Message::key(self)
    }

    fn header(&self, name: &str) -> Option<&'a [u8]> {
        Message::header(self, name)
    }

    fn timestamp_ms(&self) -> Option<i64> {
        Message::timestamp_ms(self)
    }

    fn offset(&self) -> i64 {
        Message::offset(self)
    }
}

/// Returns a part of a record as text; `None` if it has none.
///
/// # Errors
/// If it is no text, with the reason.
pub(crate) fn text<'a>(
    message: &impl Beside<'a>,
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
