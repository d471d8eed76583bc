//! Text files: what they really are, unpacked and as UTF-8.
//!
//! What a file is told by its first bytes, not by its name alone: gzip is
//! unpacked whatever the file is called, a byte order mark is taken off, UTF-16
//! is decoded, and a spreadsheet or an archive is named for what it is.

use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::error::FileError;
use crate::format::open;

/// Bytes looked at to tell what a file is.
const HEAD_BYTES: usize = 512;
const BUFFER_BYTES: usize = 128 * 1024;

const GZIP: &[u8] = b"\x1F\x8B";
const UTF_8: &[u8] = b"\xEF\xBB\xBF";
const UTF_16_LITTLE: &[u8] = b"\xFF\xFE";
const UTF_16_BIG: &[u8] = b"\xFE\xFF";
const UTF_32_LITTLE: &[u8] = b"\xFF\xFE\0\0";
const UTF_32_BIG: &[u8] = b"\0\0\xFE\xFF";

const UNPACK: &str = "unpack it first; gzip is unpacked while reading";
const SAVE_AS_CSV: &str = "save its sheet as CSV";
const CONVERT: &str = "convert it to Parquet or CSV";

/// First bytes of what is no text: what it is, and the remedy.
const OTHERS: [(&[u8], &str, &str); 11] = [
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook", "save its sheet as CSV, or unpack it"),
    (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "an Excel workbook", SAVE_AS_CSV),
    (b"\x28\xB5\x2F\xFD", "compressed by zstd", UNPACK),
    (b"BZh", "compressed by bzip2", UNPACK),
    (b"\xFD7zXZ\0", "compressed by xz", UNPACK),
    (b"7z\xBC\xAF\x27\x1C", "a 7-Zip archive", UNPACK),
    (b"\x04\x22\x4D\x18", "compressed by LZ4", UNPACK),
    (b"PAR1", "Parquet", "call it .parquet, or say 'format' = 'parquet'"),
    (b"ARROW1", "an Arrow file", CONVERT),
    (b"Obj\x01", "an Avro file", CONVERT),
    (b"SQLite format 3\0", "an SQLite database", "export its table as CSV"),
];

/// Returns what a name's extension says of a file that cannot be read, and the
/// remedy.
pub(crate) fn other_kind(extension: &str) -> Option<(&'static str, &'static str)> {
    Some(match extension {
        "xlsx" | "xlsm" | "xls" | "xlsb" | "ods" => ("a spreadsheet", SAVE_AS_CSV),
        "zip" => ("a ZIP archive", UNPACK),
        "7z" => ("a 7-Zip archive", UNPACK),
        "tar" | "tgz" => ("a tar archive", "unpack it first"),
        "zst" | "zstd" => ("compressed by zstd", UNPACK),
        "bz2" => ("compressed by bzip2", UNPACK),
        "xz" => ("compressed by xz", UNPACK),
        "lz4" => ("compressed by LZ4", UNPACK),
        "feather" | "arrow" | "ipc" => ("an Arrow file", CONVERT),
        "avro" => ("an Avro file", CONVERT),
        "orc" => ("an ORC file", CONVERT),
        "h5" | "hdf5" | "nc" => ("an HDF5 or NetCDF file", CONVERT),
        _ => return None,
    })
}

/// Opens a text file as UTF-8 without a byte order mark, unpacked if it is gzip.
///
/// # Errors
/// If it cannot be opened, or its first bytes say that it is no text.
pub(crate) fn open_text(path: &Path) -> Result<BufReader<Box<dyn Read + Send>>, FileError> {
    let failed = |source| FileError::Open { path: path.to_owned(), source };
    let (head, file) = peek(Box::new(open(path)?)).map_err(failed)?;
    let unpacked: Box<dyn Read + Send> =
        if head.starts_with(GZIP) { Box::new(MultiGzDecoder::new(file)) } else { file };
    let (head, text) = peek(unpacked).map_err(|source| FileError::Unreadable {
        path: path.to_owned(),
        format: "gzip",
        reason: format!("it is damaged: {source}"),
    })?;
    let other = |kind, remedy| FileError::OtherKind { path: path.to_owned(), kind, remedy };
    if let Some((_, kind, remedy)) = OTHERS.iter().find(|(magic, ..)| head.starts_with(magic)) {
        return Err(other(kind, remedy));
    }
    let utf_32 = [UTF_32_LITTLE, UTF_32_BIG];
    if utf_32.iter().any(|mark| head.starts_with(mark)) {
        return Err(other("UTF-32 text", "convert it to UTF-8"));
    }
    let text: Box<dyn Read + Send> = if head.starts_with(UTF_16_LITTLE) {
        Box::new(Utf16::new(skip(text, 2).map_err(failed)?, u16::from_le_bytes))
    } else if head.starts_with(UTF_16_BIG) {
        Box::new(Utf16::new(skip(text, 2).map_err(failed)?, u16::from_be_bytes))
    } else if head.starts_with(UTF_8) {
        skip(text, UTF_8.len()).map_err(failed)?
    } else if looks_like_utf_16(&head) {
        return Err(other("UTF-16 text without a byte order mark", "convert it to UTF-8"));
    } else {
        text
    };
    Ok(BufReader::with_capacity(BUFFER_BYTES, text))
}

/// Returns the first bytes, and a reader that begins with them.
fn peek(mut reader: Box<dyn Read + Send>) -> io::Result<(Vec<u8>, Box<dyn Read + Send>)> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    reader.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    let whole = Cursor::new(head.clone()).chain(reader);
    Ok((head, Box::new(whole)))
}

fn skip(mut reader: Box<dyn Read + Send>, bytes: usize) -> io::Result<Box<dyn Read + Send>> {
    io::copy(&mut reader.by_ref().take(bytes as u64), &mut io::sink())?;
    Ok(reader)
}

/// Whether every other byte is zero, as of Western text in UTF-16.
fn looks_like_utf_16(head: &[u8]) -> bool {
    let zeros = |from: usize| head.iter().skip(from).step_by(2).filter(|byte| **byte == 0).count();
    let half = head.len() / 2;
    half >= 4
        && (zeros(0) == 0 && zeros(1) * 10 >= half * 9
            || zeros(1) == 0 && zeros(0) * 10 >= half * 9)
}

/// Decodes UTF-16; what is none becomes U+FFFD.
struct Utf16<R> {
    reader: R,
    unit: fn([u8; 2]) -> u16,
    /// Bytes read and not yet decoded: half a unit, or the first unit of a pair.
    undecoded: Vec<u8>,
    decoded: Vec<u8>,
    /// How much of `decoded` has been handed on.
    position: usize,
}

impl<R: Read> Utf16<R> {
    fn new(reader: R, unit: fn([u8; 2]) -> u16) -> Self {
        Self { reader, unit, undecoded: Vec::new(), decoded: Vec::new(), position: 0 }
    }

    /// Decodes more; returns whether the end has been reached.
    fn refill(&mut self) -> io::Result<bool> {
        let before = self.undecoded.len();
        let read =
            self.reader.by_ref().take(BUFFER_BYTES as u64).read_to_end(&mut self.undecoded)?;
        let is_end = read == 0;
        let mut units: Vec<u16> =
            self.undecoded.chunks_exact(2).map(|bytes| (self.unit)([bytes[0], bytes[1]])).collect();
        let is_first_of_pair = |unit: &u16| (0xD800..0xDC00).contains(unit);
        if !is_end && units.last().is_some_and(is_first_of_pair) {
            units.pop();
        }
        let taken = if is_end { before } else { units.len() * 2 };
        self.undecoded.drain(..taken);
        self.decoded.clear();
        self.position = 0;
        for character in char::decode_utf16(units) {
            let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
            self.decoded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        if is_end && before % 2 == 1 {
            self.decoded.extend_from_slice("\u{FFFD}".as_bytes());
        }
        Ok(is_end)
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.decoded.len() {
            if self.refill()? {
                break;
            }
        }
        let mut rest = self.decoded.get(self.position..).unwrap_or_default();
        let read = rest.read(buffer)?;
        self.position += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf_16_is_decoded_across_blocks_and_pairs() {
        let text = "ts;µ;😀\n".repeat(40_000);
        for unit in [u16::from_le_bytes as fn([u8; 2]) -> u16, u16::from_be_bytes] {
            let is_little = unit([1, 0]) == 1;
            let bytes: Vec<u8> = text
                .encode_utf16()
                .flat_map(|unit| if is_little { unit.to_le_bytes() } else { unit.to_be_bytes() })
                .collect();
            let mut decoded = String::new();
            // One byte less in front puts a pair across every block's end.
            let mut reader = Utf16::new(bytes.as_slice(), unit);
            reader.read_to_string(&mut decoded).unwrap();
            assert_eq!(decoded, text);
        }
    }

    #[test]
    fn half_a_unit_and_half_a_pair_at_the_end_are_shown() {
        let mut decoded = String::new();
        Utf16::new(&b"a\0\x3D\xD8"[..], u16::from_le_bytes).read_to_string(&mut decoded).unwrap();
        assert_eq!(decoded, "a\u{FFFD}");
        decoded.clear();
        Utf16::new(&b"a\0b"[..], u16::from_le_bytes).read_to_string(&mut decoded).unwrap();
        assert_eq!(decoded, "a\u{FFFD}");
    }
}
