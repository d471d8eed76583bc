//! What must hold of a column's page headers before the decoder may see them.
//!
//! The decoder goes over what it does not know in a header, and over a list of
//! two thousand million truth values, which take no bytes, it does so for longer
//! than anybody waits. A header has no lists, so the headers are gone over here,
//! one after the other, and one that has is refused.

use std::fs::File;

use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::ChunkReader;

use super::thrift::{CUT_OFF, Kind, Walker};

/// `compressed_page_size` of `PageHeader`.
const COMPRESSED_SIZE: i16 = 3;
/// Few headers are longer; one that is is read again, twice as much of it.
const WINDOW_BYTES: u64 = 4 * 1024;

/// Checks the headers of a column's pages. Where a page runs over the column's
/// end it is the decoder that complains.
///
/// # Errors
/// Says what is wrong with a header, and where.
pub(super) fn check(file: &File, chunk: &ColumnChunkMetaData) -> Result<(), String> {
    let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
    let (Ok(start), Ok(size)) = (u64::try_from(start), u64::try_from(chunk.compressed_size()))
    else {
        return Ok(());
    };
    let end = start.saturating_add(size);
    let mut place = start;
    let mut window = WINDOW_BYTES;
    while place < end {
        let wanted = window.min(end - place);
        let length = usize::try_from(wanted).unwrap_or(usize::MAX);
        let bytes = file.get_bytes(place, length).map_err(|error| error.to_string())?;
        match header(&bytes) {
            Ok((length, page)) => {
                place = place.saturating_add(length).saturating_add(page);
                window = WINDOW_BYTES;
            }
            Err(CUT_OFF) if wanted < end - place => window = window.saturating_mul(2),
            Err(CUT_OFF) => return Ok(()),
            Err(reason) => return Err(format!("the page at byte {place}: {reason}")),
        }
    }
    Ok(())
}

/// Returns how long the header in front of `bytes` is, and the page behind it.
fn header(bytes: &[u8]) -> Result<(u64, u64), &'static str> {
    let mut walker = Walker { rest: bytes };
    let mut page = 0;
    walker.structure(0, &mut |walker, field, kind| {
        if matches!(kind, Kind::List | Kind::Map) {
            return Err("its header has a list");
        }
        if field != COMPRESSED_SIZE || kind != Kind::Integer {
            return Ok(false);
        }
        page = u64::try_from(walker.integer()?).map_err(|_| "it claims a negative size")?;
        Ok(true)
    })?;
    Ok(((bytes.len() - walker.rest.len()) as u64, page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_how_long_its_page_is() {
        // Type 0, 100 bytes, 50 compressed, a data page header of one value.
        let bytes = [0x15, 0, 0x15, 0xC8, 0x01, 0x15, 100, 0x2C, 0x15, 2, 0, 0, 0xFF, 0xFF];
        assert_eq!(header(&bytes), Ok((12, 50)));
        assert_eq!(header(&bytes[..7]), Err(CUT_OFF));
    }

    /// The decoder would count to two thousand million, once for each level.
    #[test]
    fn a_header_with_a_list_is_refused() {
        let bytes = [0x15, 0, 0x2C, 0x19, 0xF1, 0xFF, 0xFF, 0xFF, 0xFF, 0x07, 0, 0];
        assert_eq!(header(&bytes), Err("its header has a list"));
    }
}
