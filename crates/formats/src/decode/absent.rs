//! Columns that no record has.

use std::fmt;

use tidecast_stream::FieldPath;

use crate::explain;

/// A column that no record has had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsentColumn {
    /// The column.
    pub column: String,
    /// Where it was looked for, if that is not a field of its name.
    pub path: Option<FieldPath>,
    /// The field that is most like it, if one is.
    pub nearest: Option<String>,
    /// Fields that records have had, in order, up to 64.
    pub seen: Vec<String>,
}

impl fmt::Display for AbsentColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 12;
        write!(f, "no record had a column `{}`", self.column)?;
        if let Some(path) = &self.path {
            write!(f, " at `{path}`")?;
        }
        let names: Vec<String> = self.seen.iter().take(SHOWN).map(|name| quoted(name)).collect();
        let more = if self.seen.len() > SHOWN { ", …" } else { "" };
        match names.as_slice() {
            [] => write!(f, "; they have no fields")?,
            names => write!(f, "; they have {}{more}", names.join(", "))?,
        }
        let Some(nearest) = &self.nearest else { return Ok(()) };
        write!(f, "; did you mean {}?", quoted(nearest))
    }
}

fn quoted(name: &str) -> String {
    format!("`{}`", explain::quote(name.as_bytes()))
}
