//! CSV records without a header: fields in the order of the table's columns.

use std::ops::Range;

use csv_core::ReadRecordResult;
use tidecast_stream::CsvDialect;

use crate::decode::Payload;
use crate::explain::quote;
use crate::fields::Slot;
use crate::value::Value;

/// Reads CSV records to the columns that their fields are.
#[derive(Debug)]
pub(crate) struct CsvReader {
    dialect: CsvDialect,
    /// The columns that fields fill, in their order.
    columns: Vec<usize>,
}

/// The fields of a batch of records.
#[derive(Debug)]
pub(crate) struct Parsed {
    text: Vec<u8>,
    records: Vec<Result<Vec<Range<usize>>, String>>,
}

impl Parsed {
    /// Returns whether it is a record.
    pub(crate) fn is_record(&self, index: usize) -> bool {
        matches!(self.records.get(index), Some(Ok(_)))
    }

    /// Returns the fields of a record, of what is none nothing.
    pub(crate) fn texts(&self, index: usize) -> impl Iterator<Item = &str> {
        let ranges = self.records.get(index).and_then(|record| record.as_ref().ok());
        let ranges = ranges.map(Vec::as_slice).unwrap_or_default().iter();
        ranges.map(|range| {
            let bytes = self.text.get(range.clone()).unwrap_or_default();
            std::str::from_utf8(bytes).unwrap_or_default()
        })
    }
}

impl CsvReader {
    pub(crate) fn new(dialect: CsvDialect, columns: Vec<usize>) -> Self {
        Self { dialect, columns }
    }

    /// Splits records into fields.
    pub(crate) fn parse(&self, payloads: &[Payload<'_>]) -> Parsed {
        let mut reader = csv_core::ReaderBuilder::new()
            .delimiter(self.dialect.delimiter)
            .quote(self.dialect.quote)
            .build();
        let mut text = Vec::new();
        let records = payloads.iter().map(|payload| match payload {
            Some(payload) => self.split(&mut reader, payload, &mut text),
            // Told as a tombstone.
            None => Ok(Vec::new()),
        });
        let records = records.collect();
        Parsed { text, records }
    }

    fn split(
        &self,
        reader: &mut csv_core::Reader,
        payload: &[u8],
        text: &mut Vec<u8>,
    ) -> Result<Vec<Range<usize>>, String> {
        let bytes = payload.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(payload);
        if std::str::from_utf8(bytes).is_err() {
            return Err(format!("not UTF-8: `{}`; expected a CSV record", quote(bytes)));
        }
        reader.reset();
        let begin = text.len();
        text.resize(begin + bytes.len(), 0);
        let expected = self.columns.len();
        // One more than there may be tells that there are too many.
        let mut ends = vec![0; expected + 1];
        let (mut input, mut written, mut fields) = (bytes, 0, 0);
        loop {
            let output = text.get_mut(begin + written..).unwrap_or_default();
            let free = ends.get_mut(fields..).unwrap_or_default();
            let (result, read, put, ended) = reader.read_record(input, output, free);
            input = input.get(read..).unwrap_or_default();
            written += put;
            fields += ended;
            match result {
                // The end of the input ends the record.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record => break,
                ReadRecordResult::OutputEndsFull => {
                    return Err(format!(
                        "a CSV record of more fields than {expected}: `{}`; expected one for each \
                         column of the table, in its order",
                        quote(bytes)
                    ));
                }
                ReadRecordResult::OutputFull | ReadRecordResult::End => {
                    return Err("an empty value: expected a CSV record".to_owned());
                }
            }
        }
        if !input.trim_ascii().is_empty() {
            return Err("more than one CSV record: expected one per record".to_owned());
        }
        if fields != expected {
            return Err(format!(
                "a CSV record of {fields} field{}: `{}`; expected {expected}, one for each column \
                 of the table, in its order",
                if fields == 1 { "" } else { "s" },
                quote(bytes)
            ));
        }
        let mut start = begin;
        let ends = ends.iter().take(expected);
        let ranges = ends.map(|end| std::mem::replace(&mut start, begin + end)..begin + end);
        Ok(ranges.collect())
    }

    /// Finds the values of columns in a record of the batch.
    pub(crate) fn find<'a>(
        &self,
        parsed: &'a Parsed,
        index: usize,
        slots: &mut [Slot<'a>],
    ) -> Result<(), String> {
        let ranges = match parsed.records.get(index) {
            Some(Ok(ranges)) => ranges,
            Some(Err(error)) => return Err(error.clone()),
            None => return Err("no record".to_owned()),
        };
        for (column, range) in self.columns.iter().zip(ranges) {
            let bytes = parsed.text.get(range.clone()).unwrap_or_default();
            let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
            if let Some(slot) = slots.get_mut(*column) {
                slot.exact = Some(Value::Text(text, false));
            }
        }
        Ok(())
    }
}
