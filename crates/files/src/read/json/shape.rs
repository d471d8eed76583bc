//! An object that holds rows instead of being one.

use tidecast_formats::json::{FieldValue, fields};

/// Lists that are this long are columns rather than a row's values.
const COLUMN_LENGTH: usize = 2;

/// Returns what is wrong with a file whose first value is this one, if it is no
/// row but holds them: in a list under a name, or column by column.
pub(super) fn of_rows(value: &[u8]) -> Option<String> {
    // Nearly all rows have nothing nested.
    if value.iter().skip(1).all(|byte| !matches!(byte, b'[' | b'{')) {
        return None;
    }
    let mut lists: Vec<(String, usize)> = Vec::new();
    let mut objects: Vec<(String, usize)> = Vec::new();
    let mut rows: Option<(String, usize)> = None;
    let mut count = 0;
    fields(value, |name, value| {
        count += 1;
        let FieldValue::Nested(text) = value else { return };
        let name = name.into_owned();
        if text.starts_with('[') {
            let items = items(text);
            let is_row = text.get(1..).is_some_and(|list| list.trim_start().starts_with('{'));
            if is_row && items >= COLUMN_LENGTH && rows.is_none() {
                rows = Some((name.clone(), items));
            }
            lists.push((name, items));
        } else {
            objects.push((name, items(text)));
        }
    })
    .ok()?;
    if let Some((name, items)) = rows {
        return Some(format!(
            "it is one object with a list of {items} objects under `{name}`; expected an object \
             a row: take them out, e.g. with `jq -c '.{name}[]'`"
        ));
    }
    let is_columns = |columns: &[(String, usize)]| {
        let alike =
            columns.iter().filter(|(_, items)| Some(*items) == columns.first().map(|c| c.1));
        columns.len() > 1
            && alike.count() == columns.len()
            && columns.first().is_some_and(|(_, items)| *items >= COLUMN_LENGTH)
            && columns.len() == count
    };
    let (columns, kind) = match (is_columns(&lists), is_columns(&objects)) {
        (true, _) => (lists, "lists"),
        (_, true) => (objects, "objects"),
        _ => return None,
    };
    let names: Vec<String> = columns.iter().map(|(name, _)| format!("`{name}`")).collect();
    let length = columns.first().map_or(0, |(_, items)| *items);
    Some(format!(
        "it is one object of columns ({}, {kind} of {length} each); expected an object a row, as \
         pandas writes with `df.to_json(path, orient=\"records\", lines=True)`",
        names.join(", ")
    ))
}

/// How many values a list or an object holds: its outermost commas and one.
fn items(text: &str) -> usize {
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    let mut commas = 0;
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 1 => commas += 1,
            _ => {}
        }
    }
    let is_empty =
        text.get(1..text.len().saturating_sub(1)).is_none_or(|inner| inner.trim().is_empty());
    if is_empty { 0 } else { commas + 1 }
}
