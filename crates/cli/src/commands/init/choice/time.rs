//! Which column the time of a row is.

use arrow::datatypes::DataType;

use super::super::columns::{Column, Sample};
use super::words::{TIMES, likeness};

/// What tells the time of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum TimeFrom {
    /// A column.
    Column(usize),
    /// Kafka's time.
    Record,
}

/// Returns what the time is, and that of each row.
pub(super) fn time(sample: &Sample, doubts: &mut Vec<String>) -> (TimeFrom, Vec<Option<i64>>) {
    let columns = sample.columns.iter().enumerate();
    let possible = columns
        .filter(|(_, column)| column.share() > 0.9)
        .filter_map(|(place, column)| Some((place, column, column.times()?)));
    // Of a number its name has to say so, if it has one.
    let (mut candidates, unsaid): (Vec<_>, Vec<_>) = possible.partition(|(_, column, _)| {
        let is_said = likeness(column, &TIMES) > 0 || column.name.starts_with("field_");
        is_said || !column.data_type.is_numeric()
    });
    // Those that are times by type, then by name, then the first.
    candidates.sort_by_key(|(place, column, _)| {
        (column.data_type.is_numeric(), usize::MAX - likeness(column, &TIMES), *place)
    });
    let names = |columns: Vec<&Column>| {
        let names = columns.iter().take(8).map(|column| format!("`{}`", column.name));
        names.collect::<Vec<_>>().join(", ")
    };
    if candidates.len() > 1 {
        let all = candidates.iter().map(|(_, column, _)| *column).collect();
        doubts.push(format!("the event time is one of {}", names(all)));
    }
    if let Some((place, _, times)) = candidates.into_iter().next() {
        return (TimeFrom::Column(place), times);
    }
    doubts.push("no field is a time: the event time is the record's own".to_owned());
    if !unsaid.is_empty() {
        let all = unsaid.iter().map(|(_, column, _)| *column).collect();
        doubts.push(format!("by their size the event time could be the numbers of {}", names(all)));
    }
    for column in &sample.columns {
        if let Some(text) = unread(column) {
            doubts.push(format!(
                "`{}` is called like a time, and `{text}` is read as none; expected ISO 8601 or a \
                 number since 1970",
                column.name
            ));
        }
    }
    (TimeFrom::Record, sample.timestamps.clone())
}

/// Returns a text of a column that is called like a time and holds none.
pub(super) fn unread(column: &Column) -> Option<String> {
    if column.data_type != DataType::Utf8 || likeness(column, &TIMES) == 0 {
        return None;
    }
    let texts = column.texts();
    let digits = |text: &&String| text.chars().filter(char::is_ascii_digit).count() >= 4;
    let dated = texts.iter().flatten().filter(digits).count();
    let text = texts.iter().flatten().find(digits)?;
    (dated * 10 >= texts.iter().flatten().count() * 9).then(|| text.clone())
}
