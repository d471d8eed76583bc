//! Which field of a record is which column.

use std::collections::{BTreeSet, HashMap};

use crate::json::scan::{Name, unescape};

/// Names listed at most.
const LISTED: usize = 64;

/// Names remembered at most: topics whose fields are data (a reading's number as
/// its name) must not fill the memory.
const REMEMBERED: usize = 4_096;

/// What a field's name says. A function of the name and the table alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// The column of exactly this name.
    Exact(usize),
    /// Columns whose names differ from it in case only.
    Loose(Vec<usize>),
    None,
}

/// The table's names, and the fields that records have had.
#[derive(Debug)]
pub(crate) struct Names {
    exact: HashMap<String, usize>,
    /// By the name in lower case.
    loose: HashMap<String, Vec<usize>>,
    /// Names as they were written, escapes and all, and what they say.
    known: Vec<(String, Match)>,
    /// Where in `known` a name stands.
    index: HashMap<String, usize>,
    /// Where in `known` the name stands that was last at each position: records
    /// of one topic mostly have the same fields in the same order.
    last: Vec<usize>,
    /// What the newest name says of those that are not remembered.
    stranger: Match,
    /// Names of fields, up to [`LISTED`] of them.
    seen: BTreeSet<String>,
}

impl Names {
    /// Returns the names of these columns, each with its place in the table.
    pub(crate) fn new<'a>(columns: impl Iterator<Item = (&'a str, usize)>) -> Self {
        let mut exact = HashMap::new();
        let mut loose: HashMap<String, Vec<usize>> = HashMap::new();
        for (name, index) in columns {
            loose.entry(name.to_lowercase()).or_default().push(index);
            exact.insert(name.to_owned(), index);
        }
        Self {
            exact,
            loose,
            known: Vec::new(),
            index: HashMap::new(),
            last: Vec::new(),
            stranger: Match::None,
            seen: BTreeSet::new(),
        }
    }

    /// Returns what the name of a record's `position`-th field says.
    #[inline]
    pub(crate) fn find(&mut self, position: usize, name: Name<'_>) -> &Match {
        let last = self.last.get(position).copied().unwrap_or(usize::MAX);
        let index = match self.known.get(last) {
            Some((known, _)) if known == name.0 => last,
            _ => self.look_up(position, name),
        };
        self.known.get(index).map_or(&self.stranger, |(_, found)| found)
    }

    /// Returns where a name stands in `known`; for a stranger beyond its end.
    #[cold]
    fn look_up(&mut self, position: usize, (text, has_escapes): Name<'_>) -> usize {
        let index = match self.index.get(text) {
            Some(index) => *index,
            None => {
                // A name that cannot be unescaped is none of ours.
                let name = if has_escapes { unescape(text).ok() } else { Some(text.to_owned()) };
                let found = name.map_or(Match::None, |name| self.meet(name));
                if self.known.len() == REMEMBERED {
                    self.stranger = found;
                    return usize::MAX;
                }
                self.index.insert(text.to_owned(), self.known.len());
                self.known.push((text.to_owned(), found));
                self.known.len() - 1
            }
        };
        if position < REMEMBERED && self.last.len() <= position {
            self.last.resize(position + 1, usize::MAX);
        }
        if let Some(last) = self.last.get_mut(position) {
            *last = index;
        }
        index
    }

    /// Returns what a name says, and remembers that records had it.
    pub(crate) fn meet(&mut self, name: String) -> Match {
        let found = match self.exact.get(&name) {
            Some(column) => Match::Exact(*column),
            None => match self.loose.get(&name.to_lowercase()) {
                Some(columns) => Match::Loose(columns.clone()),
                None => Match::None,
            },
        };
        if self.seen.len() < LISTED {
            self.seen.insert(name);
        }
        found
    }

    /// Returns the names of fields that records have had, in order, up to 64.
    pub(crate) fn seen(&self) -> impl Iterator<Item = &String> {
        self.seen.iter()
    }

    /// Returns the name among those seen that is nearest to `column`.
    pub(crate) fn nearest(&self, column: &str) -> Option<&String> {
        let lower = column.to_lowercase();
        let likeness = |name: &String| strsim::jaro_winkler(&lower, &name.to_lowercase());
        let names = self.seen.iter().filter(|name| !self.exact.contains_key(*name));
        let best = names.map(|name| (likeness(name), name)).max_by(|a, b| a.0.total_cmp(&b.0))?;
        (best.0 > 0.8).then_some(best.1)
    }
}
