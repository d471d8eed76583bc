//! What a pipeline writes may not be what it reads, neither at once nor by way of
//! others: each forecast would come back as a record, without end. Nor may
//! forecasts go where late rows and bad records go, from which their readers could
//! not tell them, nor two pipelines write one file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use sqlparser::tokenizer::Span;

use super::tables::same_cluster;
use crate::dialect::TableStatement;
use crate::error::{Problem, quoted_list};
use crate::spec::{PipelinePlan, SinkConnector, SourceConnector};

/// The tables of all scripts by name, each with the number of its statement.
pub(super) type Tables<'a> = BTreeMap<String, (usize, &'a TableStatement)>;

/// Returns what is wrong with where `plans` write, each with the number of the
/// statement to blame: the table the forecasts go to.
pub(super) fn check_circles(plans: &[PipelinePlan], tables: &Tables<'_>) -> Vec<(usize, Problem)> {
    let ends: Vec<Ends<'_>> = plans.iter().map(Ends::of).collect();
    let alone = ends.iter().enumerate().filter_map(|(index, own)| {
        let message = reads_itself(own)
            .or_else(|| mixes_letters(own, &ends))
            .or_else(|| shares_a_file(own, ends.get(..index)?))?;
        at_sink(own.plan, tables, message)
    });
    let together = circles(&ends).into_iter().filter_map(|circle| {
        let first = ends.get(*circle.first()?)?;
        at_sink(first.plan, tables, circle_message(&ends, &circle))
    });
    alone.chain(together).collect()
}

/// Where records or forecasts lie.
#[derive(Debug)]
enum Store<'a> {
    Topic { topic: &'a str, brokers: Option<&'a str> },
    File { said: &'a str, path: PathBuf },
}

impl Store<'_> {
    /// Whether both may be the same.
    fn meets(&self, other: &Store<'_>) -> bool {
        match (self, other) {
            (Store::Topic { topic, brokers }, Store::Topic { topic: other, brokers: others }) => {
                topic == other && same_cluster(*brokers, *others)
            }
            (Store::File { path, .. }, Store::File { path: other, .. }) => path == other,
            _ => false,
        }
    }

    fn noun(&self) -> &'static str {
        match self {
            Store::Topic { .. } => "topic",
            Store::File { .. } => "path",
        }
    }

    /// Returns what to do where only one of two equal topics names its cluster.
    fn cluster_remedy(&self, other: &Store<'_>) -> &'static str {
        let brokers = |store: &Store<'_>| match store {
            Store::Topic { brokers, .. } => brokers.is_some(),
            Store::File { .. } => false,
        };
        match brokers(self) == brokers(other) {
            true => "",
            false => {
                ", or `bootstrap.servers` for both tables where they are on different clusters"
            }
        }
    }
}

impl fmt::Display for Store<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Store::Topic { topic, .. } => write!(f, "topic `{topic}`"),
            Store::File { said, .. } => write!(f, "file `{said}`"),
        }
    }
}

/// Where a pipeline reads and writes.
#[derive(Debug)]
struct Ends<'a> {
    plan: &'a PipelinePlan,
    records: Store<'a>,
    /// `None` for standard output.
    forecasts: Option<Store<'a>>,
    /// The option that names a topic of letters, and the topic.
    letters: Vec<(&'static str, Store<'a>)>,
}

impl<'a> Ends<'a> {
    fn of(plan: &'a PipelinePlan) -> Self {
        let file = |path: &'a str| Store::File { said: path, path: plain(Path::new(path)) };
        let mut own_brokers = None;
        let forecasts = match &plan.sink.connector {
            SinkConnector::Kafka(options) => {
                own_brokers = options.bootstrap_servers.as_deref();
                Some(Store::Topic { topic: &options.topic, brokers: own_brokers })
            }
            SinkConnector::Filesystem(options) => Some(file(&options.path)),
            SinkConnector::Stdout => None,
        };
        let (records, letters) = match &plan.source.connector {
            SourceConnector::Kafka(options) => {
                let brokers = options.bootstrap_servers.as_deref();
                // They are written by the forecasts' sink.
                let letters = [
                    ("late.topic", options.late_topic.as_deref()),
                    ("bad.topic", options.bad_topic.as_deref()),
                ];
                let letters = letters.into_iter().filter_map(|(option, topic)| {
                    Some((option, Store::Topic { topic: topic?, brokers: own_brokers }))
                });
                (Store::Topic { topic: &options.topic, brokers }, letters.collect())
            }
            SourceConnector::Filesystem(options) => (file(&options.path), Vec::new()),
        };
        Self { plan, records, forecasts, letters }
    }

    fn written(&self) -> impl Iterator<Item = &Store<'a>> {
        self.forecasts.iter().chain(self.letters.iter().map(|(_, store)| store))
    }

    /// Returns what this pipeline writes and `other` reads.
    fn feeds(&self, other: &Self) -> Option<&Store<'a>> {
        self.written().find(|store| store.meets(&other.records))
    }
}

/// Returns the path as it would be without `.`, `..` and the like. Links are not
/// followed: planning looks at no file.
fn plain(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

fn reads_itself(own: &Ends<'_>) -> Option<String> {
    let forecasts = own.forecasts.as_ref().filter(|store| store.meets(&own.records))?;
    let harm = match forecasts {
        Store::Topic { .. } => "each forecast would come back as a record",
        Store::File { .. } => "the forecasts would replace the records",
    };
    Some(format!(
        "{forecasts} is what table `{}` reads, so with pipeline `{}` {harm}; expected another {}{}",
        own.plan.source.name,
        own.plan.name,
        forecasts.noun(),
        forecasts.cluster_remedy(&own.records),
    ))
}

fn mixes_letters(own: &Ends<'_>, all: &[Ends<'_>]) -> Option<String> {
    let forecasts = own.forecasts.as_ref()?;
    all.iter().find_map(|other| {
        let (option, store) = other.letters.iter().find(|(_, store)| store.meets(forecasts))?;
        Some(format!(
            "{forecasts} is the `{option}` of table `{}`, so readers of the forecasts of pipeline \
             `{}` would find other records among them; expected another topic{}",
            other.plan.source.name,
            own.plan.name,
            forecasts.cluster_remedy(store),
        ))
    })
}

fn shares_a_file(own: &Ends<'_>, before: &[Ends<'_>]) -> Option<String> {
    let file = own.forecasts.as_ref().filter(|store| matches!(store, Store::File { .. }))?;
    let writes_it = |other: &&Ends<'_>| other.forecasts.iter().any(|store| store.meets(file));
    let other = before.iter().find(writes_it)?;
    Some(format!(
        "{file} is written by pipelines `{}` and `{}`, which would overwrite each other's \
         forecasts; expected a table with a path of its own for each",
        other.plan.name, own.plan.name,
    ))
}

/// Returns the circles of two and more pipelines that feed each other, each from
/// its first pipeline on.
fn circles(ends: &[Ends<'_>]) -> Vec<Vec<usize>> {
    (0..ends.len()).filter_map(|first| circle_from(ends, first)).collect()
}

/// Returns the shortest way from `first` back to it by way of later pipelines.
fn circle_from(ends: &[Ends<'_>], first: usize) -> Option<Vec<usize>> {
    // One that feeds itself is reported for that.
    let is_fine = |own: &Ends<'_>| reads_itself(own).is_none();
    let feeds = |from: usize, to: usize| {
        let both = ends.get(from).zip(ends.get(to)).filter(|_| from != to);
        both.is_some_and(|(a, b)| is_fine(a) && is_fine(b) && a.feeds(b).is_some())
    };
    let mut came_from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut reached = vec![first];
    while !reached.is_empty() {
        if let Some(last) = reached.iter().copied().find(|at| feeds(*at, first)) {
            let back = std::iter::successors(Some(last), |at| came_from.get(at).copied());
            let mut circle: Vec<usize> = back.collect();
            circle.reverse();
            return Some(circle);
        }
        let mut next = Vec::new();
        for at in reached {
            for to in first + 1..ends.len() {
                if !came_from.contains_key(&to) && feeds(at, to) {
                    came_from.insert(to, at);
                    next.push(to);
                }
            }
        }
        reached = next;
    }
    None
}

fn circle_message(ends: &[Ends<'_>], circle: &[usize]) -> String {
    let members: Vec<&Ends<'_>> = circle.iter().filter_map(|index| ends.get(*index)).collect();
    let following = members.iter().cycle().skip(1);
    let mut way = String::new();
    for (from, to) in members.iter().zip(following) {
        if let Some(store) = from.feeds(to) {
            way += &format!("`{}` → {store} → ", from.plan.name);
        }
    }
    let first = members.first().map_or("", |first| first.plan.name.as_str());
    format!(
        "pipelines {} feed each other: {way}`{first}`, so records would go round without end; \
         expected something that none of them reads",
        quoted_list(members.iter().map(|ends| ends.plan.name.as_str())),
    )
}

/// Places a problem where the table of a pipeline's forecasts names topic or path.
fn at_sink(plan: &PipelinePlan, tables: &Tables<'_>, message: String) -> Option<(usize, Problem)> {
    let (statement, table) = tables.get(&plan.sink.name)?;
    let names_store = |key: &str| matches!(key, "topic" | "path");
    let option = table.options.pairs.iter().find(|(key, _)| names_store(&key.value));
    let span = option.map_or(Span::empty(), |(_, value)| value.span);
    Some((*statement, Problem::new(span, message)))
}
