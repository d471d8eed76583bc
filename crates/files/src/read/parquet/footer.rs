//! What must hold of a footer before the decoder may see it.
//!
//! The decoder reserves memory by what a footer says, and goes into nested
//! columns by calling itself; a few wrong bytes would end the process, which no
//! guard can catch. So the footer, a struct of Thrift's compact protocol, is
//! walked once: its lists can be no longer than the bytes that are left, and its
//! columns not nested without end.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::thrift::{Kind, Walker};

/// The footer's length and the four bytes `PAR1` end a file.
const TAIL_BYTES: u64 = 8;
/// Columns in columns.
const MAX_NESTING: usize = 64;

/// Fields of `FileMetaData` and `SchemaElement`.
const SCHEMA: i16 = 2;
const NUM_CHILDREN: i16 = 5;

/// Checks the footer of `file`; one that is not there, or encrypted, is left to
/// the decoder to complain of.
///
/// # Errors
/// If the file cannot be read; the inner error says what is wrong with the footer.
pub(super) fn check(file: &mut File, length: u64) -> io::Result<Result<(), &'static str>> {
    let Some(tail) = length.checked_sub(TAIL_BYTES) else { return Ok(Ok(())) };
    let mut bytes = [0; TAIL_BYTES as usize];
    file.seek(SeekFrom::Start(tail))?;
    file.read_exact(&mut bytes)?;
    let [a, b, c, d, magic @ ..] = bytes;
    let size = u64::from(u32::from_le_bytes([a, b, c, d]));
    let Some(start) = tail.checked_sub(size).filter(|_| magic == *b"PAR1") else {
        return Ok(Ok(()));
    };
    file.seek(SeekFrom::Start(start))?;
    let mut footer = Vec::new();
    file.by_ref().take(size).read_to_end(&mut footer)?;
    Ok(check_bytes(&footer))
}

fn check_bytes(footer: &[u8]) -> Result<(), &'static str> {
    let mut walker = Walker { rest: footer };
    let mut children = Vec::new();
    walker.structure(0, &mut |walker, field, kind| {
        if field != SCHEMA || kind != Kind::List {
            return Ok(false);
        }
        let (size, element) = walker.list()?;
        if element != Kind::Struct {
            return Err("its schema is no list of columns");
        }
        for _ in 0..size {
            let mut count = 0;
            walker.structure(1, &mut |walker, field, kind| {
                if field != NUM_CHILDREN || kind != Kind::Integer {
                    return Ok(false);
                }
                count = walker.integer()?;
                Ok(true)
            })?;
            children.push(count);
        }
        Ok(true)
    })?;
    check_nesting(&children)
}

/// `children` says of each column, in depth-first order, how many it has.
fn check_nesting(children: &[i64]) -> Result<(), &'static str> {
    let mut open: Vec<i64> = Vec::new();
    for (index, count) in children.iter().enumerate() {
        let rest = children.len() - index - 1;
        if !usize::try_from(*count).is_ok_and(|count| count <= rest) {
            return Err("its schema claims more columns than there are");
        }
        if let Some(missing) = open.last_mut() {
            *missing -= 1;
        }
        if *count > 0 {
            open.push(*count);
        }
        while open.last() == Some(&0) {
            open.pop();
        }
        if open.len() > MAX_NESTING {
            return Err("its columns are nested too deeply");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::thrift::CUT_OFF;
    use super::*;

    /// A footer whose schema has elements with these numbers of children.
    fn footer(children: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x15, 0x02, 0x19, 0xFC];
        let mut size = children.len();
        while size > 0x7F {
            bytes.push(size as u8 | 0x80);
            size >>= 7;
        }
        bytes.push(size as u8);
        for count in children {
            // `num_children`, zigzag, and the struct's end.
            bytes.extend([0x55, count * 2, 0]);
        }
        bytes.push(0);
        bytes
    }

    #[test]
    fn a_flat_and_a_nested_schema_pass() {
        assert_eq!(check_bytes(&footer(&[2, 0, 0])), Ok(()));
        assert_eq!(check_bytes(&footer(&[1, 2, 0, 1, 0])), Ok(()));
        let wide = [&[60][..], &[0; 60]].concat();
        assert_eq!(check_bytes(&footer(&wide)), Ok(()));
    }

    /// Each would take the process with it: a stack that runs over, memory that is
    /// not there.
    #[test]
    fn a_footer_that_would_end_the_process_is_refused() {
        let deep = [&[1; 20_000][..], &[0]].concat();
        assert_eq!(check_bytes(&footer(&deep)), Err("its columns are nested too deeply"));
        let greedy = check_bytes(&footer(&[60, 0]));
        assert_eq!(greedy, Err("its schema claims more columns than there are"));
        // Two thousand million row groups.
        let groups = [0x49, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0x07, 0x00];
        let long = check_bytes(&groups);
        assert_eq!(long, Err("its metadata claims a list that is longer than the file"));
        // Lists in lists in lists.
        let nested = [&[0x19][..], &[0x19; 1000]].concat();
        assert_eq!(check_bytes(&nested), Err("its metadata is nested too deeply"));
        assert_eq!(check_bytes(&[0x1C; 1000]), Err("its metadata is nested too deeply"));
        assert_eq!(check_bytes(&[]), Err(CUT_OFF));
        assert!(check_bytes(&[0x16; 12]).is_err());
    }
}
