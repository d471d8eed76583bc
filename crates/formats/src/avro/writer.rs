//! Records of one schema, decoded together.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};

use super::{Place, Rows};
use crate::cells::Cells;
use crate::guard::guarded;

/// The bytes in front of a record: a zero, and the schema's number.
const FRAME: usize = 5;

/// What stands in front of a record for arrow-avro where nothing does: a number that few
/// records end in.
const NO_FRAME: [u8; FRAME] = [0, 0xFF, 0xFF, 0xFF, 0xFF];

/// The number in it.
const NO_NUMBER: u32 = u32::MAX;

/// A schema that records were written with.
pub(super) struct Writer {
    /// What it is called, for people.
    pub(super) name: String,
    /// Its number, if records have it in front as arrow-avro knows it.
    pub(super) frame: Option<u32>,
    pub(super) text: String,
    pub(super) reader: Option<String>,
    /// The fields of the record that columns need, if any is.
    pub(super) projection: Option<Vec<usize>>,
    /// For each column of the table where it stands.
    pub(super) places: Vec<Option<Place>>,
    pub(super) list: Option<Place>,
    /// The ways to columns from the elements of the list.
    pub(super) in_elements: Vec<Vec<String>>,
    pub(super) capacity: usize,
    /// With the records of the batch so far.
    pub(super) decoder: Option<Decoder>,
}

/// Records that were decoded together.
pub(super) struct Batch {
    /// For each column of the table its cells.
    pub(super) columns: Vec<Option<Cells>>,
    pub(super) list: Option<Cells>,
}

impl Writer {
    pub(super) fn build(&self) -> Result<Decoder, ArrowError> {
        let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
        let fingerprint = Fingerprint::Id(self.frame.unwrap_or(NO_NUMBER));
        store.set(fingerprint, AvroSchema::new(self.text.clone()))?;
        let mut builder = ReaderBuilder::new()
            .with_writer_schema_store(store)
            .with_active_fingerprint(fingerprint)
            .with_batch_size(self.capacity);
        if let Some(reader) = &self.reader {
            builder = builder.with_reader_schema(AvroSchema::new(reader.clone()));
        }
        if let Some(projection) = &self.projection {
            builder = builder.with_projection(projection.clone());
        }
        builder.build_decoder()
    }

    /// Decodes the records of these indices.
    pub(super) fn read(&mut self, indices: &[usize], bodies: &[&[u8]], rows: &mut Rows) {
        let body = |index: usize| bodies.get(index).copied().unwrap_or_default();
        for some in indices.chunks(self.capacity) {
            let mut rest = some;
            loop {
                let mut pushed = rest.iter().map(|index| self.push(body(*index)));
                let bad = pushed.by_ref().enumerate().find_map(|(at, it)| Some((at, it.err()?)));
                let Some((at, reason)) = bad else { break };
                // It may hold a part of the record.
                self.decoder = None;
                let (before, behind) = rest.split_at(at);
                // These were decoded once, so it goes no deeper.
                self.read(before, bodies, rows);
                if let Some((bad, behind)) = behind.split_first() {
                    rows.set(*bad, Err(reason));
                    rest = behind;
                }
            }
            self.flush(rest, bodies, rows);
        }
    }

    /// Decodes one record. After an error the decoder is of no use.
    fn push(&mut self, body: &[u8]) -> Result<(), String> {
        let of_schema = &self.name;
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => self.build().map_err(|error| format!("{of_schema}: {error}"))?,
        };
        let framed;
        let bytes = match self.frame {
            Some(_) => body,
            None => {
                framed = [&NO_FRAME, body].concat();
                &framed
            }
        };
        let capacity = decoder.capacity();
        let outcome = decoder.decode(bytes);
        let records = capacity.saturating_sub(decoder.capacity());
        self.decoder = Some(decoder);
        match outcome {
            Ok(used) if used == bytes.len() && records == 1 && self.has_a_frame_behind(bytes) => {
                Err(format!("bytes behind an Avro record of {of_schema}: expected it alone"))
            }
            Ok(used) if used == bytes.len() && records == 1 => Ok(()),
            Ok(_) if records > 0 => {
                Err(format!("bytes behind an Avro record of {of_schema}: expected it alone"))
            }
            Ok(_) => Err(format!("an Avro record of {of_schema} that is cut off")),
            Err(error) => Err(format!("no Avro record of {of_schema}: {error}")),
        }
    }

    /// Returns whether a record with its frame, read to the end, is one with another frame
    /// behind it: a decoder takes that, and would read what comes next as its body.
    fn has_a_frame_behind(&self, bytes: &[u8]) -> bool {
        let (Some(frame), Some(length)) = (bytes.get(..FRAME), bytes.len().checked_sub(FRAME))
        else {
            return false;
        };
        let Some(shorter) = bytes.get(..length).filter(|_| bytes.ends_with(frame)) else {
            return false;
        };
        // Few records end so, and of those that do few have not to.
        self.build().is_ok_and(|mut decoder| {
            let capacity = decoder.capacity();
            // What it makes of a record that is too short shows in what it holds.
            let _outcome = decoder.decode(shorter);
            decoder.capacity() < capacity
        })
    }

    /// Makes a batch of the records that were decoded. What shows only now (texts that are
    /// not UTF-8) is found by halves.
    fn flush(&mut self, held: &[usize], bodies: &[&[u8]], rows: &mut Rows) {
        if held.is_empty() {
            return;
        }
        // A decoder serves for one batch: those of unions do not begin anew behind it.
        let batch = match self.decoder.take().map(|mut decoder| guarded(|| decoder.flush())) {
            Some(Ok(Ok(Some(batch)))) if batch.num_rows() == held.len() => self.cells(&batch),
            Some(Ok(Err(error))) => Err(error.to_string()),
            Some(Err(panic)) => Err(panic),
            _ => Err("rows are missing".to_owned()),
        };
        let number = rows.batches.len();
        match (batch, held) {
            (Ok(batch), held) => {
                rows.batches.push(batch);
                for (row, index) in held.iter().enumerate() {
                    rows.set(*index, Ok((number, row)));
                }
            }
            (Err(error), [only]) => {
                rows.set(*only, Err(format!("no Avro record of {}: {error}", self.name)));
            }
            (Err(_), several) => {
                let (first, second) = several.split_at(several.len() / 2);
                self.read(first, bodies, rows);
                self.read(second, bodies, rows);
            }
        }
    }

    /// Returns the cells of the table's columns.
    fn cells(&self, batch: &RecordBatch) -> Result<Batch, String> {
        let cells = || -> Result<Batch, ArrowError> {
            let place = |place: &Option<Place>| {
                let (field, path) = place.as_ref()?;
                Some((batch.columns().get(*field)?, path.clone()))
            };
            let columns = self.places.iter().map(|it| match place(it) {
                Some((array, path)) => Cells::at(array, &path),
                None => Ok(None),
            });
            let columns = columns.collect::<Result<_, _>>()?;
            let list = match place(&self.list) {
                Some((array, path)) => Cells::list_at(array, &path, &self.in_elements)?,
                None => None,
            };
            Ok(Batch { columns, list })
        };
        cells().map_err(|error| error.to_string())
    }
}
