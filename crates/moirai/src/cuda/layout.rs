//! Where the fields of the kernels' parameters stand, here and in the kernels.
//!
//! Each structure of `launch.rs` is declared again in `kernels/*.cu`, and nothing
//! but care keeps the two alike: a field that moved would be read as another one. So
//! each module of kernels tells of its own structures (`LAYOUT` in
//! `kernels/common.cuh`), and a card is opened only if all of them are those of this
//! program.

/// A structure's size and alignment, and where its fields stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// Its name in the kernels.
    pub(super) name: String,
    pub(super) size: u32,
    pub(super) alignment: u32,
    pub(super) fields: Vec<Field>,
}

/// A field of a structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    /// Bytes before it.
    pub(super) place: u32,
    pub(super) size: u32,
}

/// Why the kernels cannot be launched from this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the kernels in this build were compiled from other sources than the program: structure \
     `{structure}`{} {difference}; build it anew",
    field.as_ref().map(|field| format!(", field `{field}`")).unwrap_or_default()
)]
pub(crate) struct LayoutMismatch {
    structure: String,
    field: Option<String>,
    difference: String,
}

/// Bytes of a row of a table, and of the name in it.
const ROW: usize = 32;
const NAME: usize = 24;

/// Bytes of the largest table, `MOST_ROWS` there. What is not written is zero.
pub(super) const TABLE: usize = 32 * ROW;

impl Layout {
    /// Returns the name of the kernel that tells of this structure.
    pub(super) fn kernel(&self) -> String {
        format!("layout_{}", self.name)
    }

    /// Compares with the table that the kernels have, `None` if they have none.
    ///
    /// # Errors
    /// Where they differ first.
    pub(super) fn compare(&self, table: Option<&[u8]>) -> Result<(), LayoutMismatch> {
        let differ = |field: Option<&str>, difference: String| LayoutMismatch {
            structure: self.name.clone(),
            field: field.map(str::to_owned),
            difference,
        };
        let theirs = table.and_then(Self::read);
        let theirs = theirs.ok_or_else(|| differ(None, "is not described there".to_owned()))?;
        for field in &self.fields {
            let Some(other) = theirs.fields.iter().find(|other| other.name == field.name) else {
                return Err(differ(Some(&field.name), "is not there".to_owned()));
            };
            if other != field {
                let bytes = |it: &Field| format!("{} bytes at {}", it.size, it.place);
                let difference = format!("is {} there, {} here", bytes(other), bytes(field));
                return Err(differ(Some(&field.name), difference));
            }
        }
        let is_ours = |other: &&Field| self.fields.iter().any(|field| field.name == other.name);
        if let Some(other) = theirs.fields.iter().find(|other| !is_ours(other)) {
            return Err(differ(Some(&other.name), "is there alone".to_owned()));
        }
        if (theirs.size, theirs.alignment) != (self.size, self.alignment) {
            let bytes = |it: &Self| format!("{} bytes, aligned to {}", it.size, it.alignment);
            let difference = format!("is {} there, {} here", bytes(&theirs), bytes(self));
            return Err(differ(None, difference));
        }
        Ok(())
    }

    /// Reads a table: a row for the structure and one for each field, until there is
    /// one without a name.
    fn read(table: &[u8]) -> Option<Self> {
        let mut rows = table.as_chunks::<ROW>().0.iter().map_while(|row| {
            let (name, numbers) = row.split_at(NAME);
            let name = name.split(|byte| *byte == 0).next()?;
            let mut numbers = numbers.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
            let (place, size) = (numbers.next()?, numbers.next()?);
            let name = String::from_utf8_lossy(name).into_owned();
            (!name.is_empty()).then_some(Field { name, place, size })
        });
        let Field { name, place: size, size: alignment } = rows.next()?;
        Some(Self { name, size, alignment, fields: rows.collect() })
    }
}

/// Returns the [`Layout`] of a structure; each of its fields has to be named.
macro_rules! layout {
    ($structure:ident { $($field:ident),+ }) => {
        $crate::cuda::layout::layout!(
            $structure as stringify!($structure), { $($field as stringify!($field)),+ }
        )
    };
    ($structure:ident as $name:expr, { $($field:tt as $its_name:expr),+ }) => {{
        fn size<S, F>(_: fn(&S) -> &F) -> usize {
            size_of::<F>()
        }
        // Does not compile where a field was left out.
        let _all = |it: $structure| {
            let $structure { $($field: _),+ } = it;
        };
        $crate::cuda::layout::Layout {
            name: $name.to_owned(),
            size: size_of::<$structure>() as u32,
            alignment: align_of::<$structure>() as u32,
            fields: vec![$($crate::cuda::layout::Field {
                name: $its_name.to_owned(),
                place: std::mem::offset_of!($structure, $field) as u32,
                size: size(|it: &$structure| &it.$field) as u32,
            }),+],
        }
    }};
}
pub(super) use layout;

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Parameters {
        rows: u64,
        width: i32,
    }

    fn row(name: &str, place: u32, size: u32) -> Vec<u8> {
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(NAME, 0);
        bytes.extend(place.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes
    }

    #[test]
    fn a_table_is_compared_field_by_field() {
        let ours = layout!(Parameters { rows, width });
        assert_eq!(ours.kernel(), "layout_Parameters");
        let compare = |rows: &[Vec<u8>]| {
            let mut table = rows.concat();
            table.resize(TABLE, 0);
            ours.compare(Some(&table)).map_err(|mismatch| mismatch.to_string())
        };
        let (head, rows, width) = (row("Parameters", 16, 8), row("rows", 0, 8), row("width", 8, 4));
        assert_eq!(compare(&[head.clone(), rows.clone(), width.clone()]), Ok(()));
        for (table, expected) in [
            (
                vec![head.clone(), row("rows", 0, 4), width.clone()],
                "structure `Parameters`, field `rows` is 4 bytes at 0 there, 8 bytes at 0 here",
            ),
            (
                vec![head.clone(), rows.clone(), row("width", 12, 4)],
                "structure `Parameters`, field `width` is 4 bytes at 12 there, 4 bytes at 8 here",
            ),
            (
                vec![head.clone(), rows.clone()],
                "structure `Parameters`, field `width` is not there",
            ),
            (
                vec![head, rows.clone(), width.clone(), row("more", 12, 4)],
                "structure `Parameters`, field `more` is there alone",
            ),
            (
                vec![row("Parameters", 24, 8), rows, width],
                "structure `Parameters` is 24 bytes, aligned to 8 there, 16 bytes, aligned to 8 here",
            ),
            (vec![], "structure `Parameters` is not described there"),
        ] {
            let found = compare(&table).expect_err("another layout");
            assert!(found.contains(expected) && found.ends_with("; build it anew"), "{found}");
        }
        let absent = ours.compare(None).expect_err("no table").to_string();
        assert!(absent.contains("structure `Parameters` is not described there"), "{absent}");
    }
}
