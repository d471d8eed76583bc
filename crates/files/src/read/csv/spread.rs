//! Records from all over a file.
//!
//! The first rows of a file are of one series as a rule, or of its first days:
//! whether there are thousands among its numbers, and how large its times grow,
//! shows elsewhere.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use arrow::array::StringBuilder;

use super::record::{Fields, Split};

/// Places looked at, the last of them the file's end.
const PLACES: u64 = 16;
const PLACE_BYTES: u64 = 32 * 1024;

/// How the records of a file are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) delimiter: u8,
    pub(super) line_end: u8,
    /// Fields of a record.
    pub(super) fields: usize,
}

/// Adds the values of records that lie behind the file's first `behind` bytes to
/// `columns`. What is no record is left out: a sample has no use for it. Nothing
/// is added where places cannot be gone to, as in gzip.
pub(super) fn add_records(path: &Path, behind: u64, layout: Layout, columns: &mut [StringBuilder]) {
    // A sample that cannot be taken is none; reading the file tells what is wrong.
    let _is_read = records(path, behind, layout, columns).is_ok();
}

fn records(
    path: &Path,
    behind: u64,
    layout: Layout,
    columns: &mut [StringBuilder],
) -> io::Result<()> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    if !is_plain(&mut file)? {
        return Ok(());
    }
    let mut block = Vec::new();
    let mut fields = Fields::default();
    for place in 1..=PLACES {
        let end = u64::try_from(u128::from(length) * u128::from(place) / u128::from(PLACES))
            .unwrap_or(length);
        let start = end.saturating_sub(PLACE_BYTES).max(behind);
        if start >= end {
            continue;
        }
        block.clear();
        file.seek(SeekFrom::Start(start))?;
        file.by_ref().take(end - start).read_to_end(&mut block)?;
        // The first line is half of one, and so is the last, but for the file's.
        let mut lines = block.split_inclusive(|byte| *byte == layout.line_end).skip(1).peekable();
        while let Some(line) = lines.next() {
            if lines.peek().is_some() || end == length {
                add(line, layout, &mut fields, columns);
            }
        }
    }
    Ok(())
}

fn add(line: &[u8], layout: Layout, fields: &mut Fields, columns: &mut [StringBuilder]) {
    let is_record =
        fields.split(line, layout.delimiter) == Split::Whole && fields.fits(layout.fields);
    let Ok(text) = std::str::from_utf8(fields.text(line)) else { return };
    if !is_record || fields.is_blank() {
        return;
    }
    for (number, column) in columns.iter_mut().enumerate() {
        let value = text.get(fields.range(number)).unwrap_or_default();
        column.append_option((!value.is_empty()).then_some(value));
    }
}

/// Whether the file is text as it stands: neither gzip nor UTF-16.
fn is_plain(file: &mut File) -> io::Result<bool> {
    let mut head = [0; 2];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut head)?;
    Ok(!matches!(head, [0x1F, 0x8B] | [0xFF, 0xFE] | [0xFE, 0xFF]))
}
