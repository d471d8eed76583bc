//! Names that Avro and Protobuf have: ASCII letters, digits and `_`, a letter first.

use std::collections::BTreeSet;

/// Makes names that schemas have of names that they may not have, each another one.
#[derive(Debug, Default)]
pub(super) struct Identifiers {
    /// Those that are taken, as JSON has them: Protobuf refuses fields whose names differ in
    /// `_` and capitals alone.
    taken: BTreeSet<String>,
}

impl Identifiers {
    /// Takes names that fields have whatever the columns.
    pub(super) fn taken<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { taken: names.into_iter().map(bare).collect() }
    }

    /// Returns the name of a column's field.
    pub(super) fn next(&mut self, name: &str) -> String {
        let first = identifier(name);
        let mut found = first.clone();
        for number in 2.. {
            if self.taken.insert(bare(&found)) {
                break;
            }
            found = format!("{first}_{number}");
        }
        found
    }
}

fn bare(name: &str) -> String {
    name.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
}

/// Returns a name with `_` for what schemas do not have in names.
pub(super) fn identifier(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let text: String = name.chars().map(plain).collect();
    match text.chars().next() {
        Some(first) if first.is_ascii_alphabetic() => text,
        // Only underscores are none to a reader, and some generators take a leading one off.
        _ => format!("c_{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_has_a_name_of_its_own_that_schemas_have() {
        let mut names = Identifiers::taken(["origin", "q0_1"]);
        let columns = ["kW net", "kW_net", "kwNet", "Größe", "7", "", "Origin", "q01", "site"];
        let found = columns.map(|column| names.next(column));
        assert_eq!(
            found,
            ["kW_net", "kW_net_2", "kwNet_3", "Gr__e", "c_7", "c_", "Origin_2", "q01_2", "site"]
        );
    }
}
