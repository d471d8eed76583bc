//! Suites: a TOML file that lists tasks, in files with one row a series.
//!
//! ```toml
//! context = 1024                    # for all tasks; 1024 when absent
//!
//! [[task]]
//! name = "hourly load"
//! file = "load.parquet"             # series_id, freq, start, target
//! horizon = 48
//! windows = "gift"                  # a number, or GIFT-Eval's rule
//! season = 24
//! # Also: stride (the horizon), context.
//! [task.baselines]
//! seasonal-naive = { wql = 0.0620, mase = 1.203 }
//! ```
//!
//! What `seasonal-naive` scored there is what ours has to score: it shows that
//! file and protocol are the same.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use tidecast_files::read_listed_series;

use super::USUAL_CONTEXT;
use super::placement::{Placement, gift_windows};
use super::task::{Baseline, Task};
use crate::commands::series::Series;

/// The levels that published scores are about.
const LEVELS: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// A suite as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Suite {
    context: Option<usize>,
    #[serde(rename = "task", default)]
    pub(super) tasks: Vec<Entry>,
}

/// A task as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    file: PathBuf,
    horizon: usize,
    windows: WindowRule,
    stride: Option<usize>,
    season: usize,
    context: Option<usize>,
    #[serde(default)]
    baselines: BTreeMap<String, Baseline>,
}

/// How many windows a series has.
#[derive(Debug, Clone, Copy, PartialEq)]
enum WindowRule {
    Count(usize),
    /// [`gift_windows`].
    Gift,
}

impl<'de> Deserialize<'de> for WindowRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rule;
        impl Visitor<'_> for Rule {
            type Value = WindowRule;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of windows or \"gift\"")
            }

            fn visit_i64<E: Error>(self, count: i64) -> Result<WindowRule, E> {
                let wrong = |_| E::custom(format!("windows = {count}: expected 1 or more"));
                usize::try_from(count).map(WindowRule::Count).map_err(wrong)
            }

            fn visit_str<E: Error>(self, rule: &str) -> Result<WindowRule, E> {
                match rule {
                    "gift" => Ok(WindowRule::Gift),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(Rule)
    }
}

impl Suite {
    /// Reads a suite; `only` names the tasks to keep, all of them if it is empty.
    ///
    /// # Errors
    /// If the file cannot be read or says something that cannot be, or there is no
    /// task of a name.
    pub(super) fn read(path: &Path, only: &[String]) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the suite `{}`", path.display()))?;
        Self::parse(&text, only).with_context(|| format!("suite `{}`", path.display()))
    }

    fn parse(text: &str, only: &[String]) -> anyhow::Result<Self> {
        let mut suite: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map(|before| before.matches('\n').count() + 1);
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            anyhow::anyhow!("{place}{}", error.message())
        })?;
        if suite.tasks.is_empty() {
            bail!("there is no task: expected a section [[task]]");
        }
        for (index, task) in suite.tasks.iter().enumerate() {
            if suite.tasks.iter().take(index).any(|other| other.name == task.name) {
                bail!("two tasks have the name `{}`: scores are told apart by it", task.name);
            }
            task.check()?;
        }
        if suite.context == Some(0) {
            bail!("context = 0: expected 1 or more");
        }
        for name in only {
            if !suite.tasks.iter().any(|task| task.name == *name) {
                let names: Vec<&str> = suite.tasks.iter().map(|task| task.name.as_str()).collect();
                let similar = |known: &&&str| strsim::jaro_winkler(known, name);
                let nearest = names.iter().max_by(|a, b| similar(a).total_cmp(&similar(b)));
                let hint =
                    nearest.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
                bail!("no task `{name}` (--only){hint} (tasks: {})", names.join(", "));
            }
        }
        if !only.is_empty() {
            suite.tasks.retain(|task| only.contains(&task.name));
        }
        Ok(suite)
    }

    /// Returns the context of a task where the command line says nothing.
    pub(super) fn context(&self, entry: &Entry) -> usize {
        entry.context.or(self.context).unwrap_or(USUAL_CONTEXT)
    }
}

impl Entry {
    fn check(&self) -> anyhow::Result<()> {
        let windows = match self.windows {
            WindowRule::Count(windows) => windows,
            WindowRule::Gift => 1,
        };
        for (key, value) in [
            ("horizon", Some(self.horizon)),
            ("windows", Some(windows)),
            ("stride", self.stride),
            ("season", Some(self.season)),
            ("context", self.context),
        ] {
            if value == Some(0) {
                bail!("task `{}`: {key} = 0: expected 1 or more", self.name);
            }
        }
        Ok(())
    }

    /// Reads the task's file in `folder`.
    ///
    /// # Errors
    /// If it cannot be read, or a series is too short for the windows: scores of
    /// fewer windows are not those of the suite.
    pub(super) fn load(&self, folder: &Path, context: usize) -> anyhow::Result<Task> {
        let path = folder.join(&self.file);
        let of_task = || format!("task `{}`", self.name);
        let series = read_listed_series(&path).with_context(|| {
            format!("{}: --data FOLDER says where the suite's files are", of_task())
        })?;
        let lengths = series.iter().map(|series| series.values.len());
        let Some(shortest) = lengths.min() else {
            bail!("{}: `{}` has no series", of_task(), path.display());
        };
        let windows = match self.windows {
            WindowRule::Count(windows) => windows,
            WindowRule::Gift => gift_windows(shortest, self.horizon),
        };
        let stride = self.stride.unwrap_or(self.horizon);
        let placement = Placement { horizon: self.horizon, stride, windows };
        if let Some(short) = series.iter().find(|s| placement.left_out(s.values.len()) > 0) {
            bail!(
                "{}: series `{}` of `{}` has {} steps, too short for {windows} windows of {} steps",
                of_task(),
                short.id,
                path.display(),
                short.values.len(),
                self.horizon
            );
        }
        let series = series.into_iter().map(|series| Series {
            name: series.id,
            values: series.values.into_iter().map(f64::from).collect(),
        });
        Ok(Task {
            name: self.name.clone(),
            series: series.collect(),
            placement,
            season: self.season,
            context,
            levels: LEVELS.to_vec(),
            baselines: self.baselines.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str =
        "[[task]]\nname = 'a'\nfile = 'a.parquet'\nhorizon = 8\nwindows = 'gift'\nseason = 24\n";

    fn parse(text: &str, only: &[&str]) -> anyhow::Result<Suite> {
        let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
        Suite::parse(text, &only)
    }

    #[test]
    fn a_suite_says_what_its_tasks_are() {
        let other = TASK.replace("'a'", "'b'").replace("'gift'", "3").replace("24", "7");
        let text = format!(
            "context = 512\n{TASK}[task.baselines]\ntheta = {{ wql = 0.5, mase = 1.5 }}\n{other}context = 64\n"
        );
        let suite = parse(&text, &[]).expect("a suite");
        let [a, b] = suite.tasks.as_slice() else { panic!("{suite:?}") };
        assert_eq!((a.windows, b.windows), (WindowRule::Gift, WindowRule::Count(3)));
        assert_eq!((suite.context(a), suite.context(b)), (512, 64));
        assert_eq!(a.baselines["theta"], Baseline { wql: 0.5, mase: 1.5 });
        let kept = parse(&text, &["b"]).expect("a suite").tasks;
        assert_eq!(kept.iter().map(|task| task.name.as_str()).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn mistakes_name_their_place() {
        let with = |from: &str, to: &str| TASK.replace(from, to);
        for (text, only, expected) in [
            (String::new(), "", "expected a section [[task]]"),
            (with("horizon", "horizont"), "", "line 4: unknown field `horizont`"),
            (with("season = 24\n", ""), "", "missing field `season`"),
            (
                with("'gift'", "'gifts'"),
                "",
                "line 5: invalid value: string \"gifts\", expected a number of windows or \"gift\"",
            ),
            (with("'gift'", "-1"), "", "expected 1 or more"),
            (with("'gift'", "0"), "", "task `a`: windows = 0"),
            (with("horizon = 8", "horizon = 0"), "", "task `a`: horizon = 0"),
            (format!("context = 0\n{TASK}"), "", "context = 0"),
            (format!("{TASK}{TASK}"), "", "two tasks have the name `a`"),
            (with("'a'", "'load'"), "laod", "no task `laod` (--only); did you mean `load`?"),
            (format!("{TASK}[task.baselines]\nx = {{ wql = 1 }}"), "", "missing field `mase`"),
        ] {
            let only: Vec<&str> = Some(only).filter(|name| !name.is_empty()).into_iter().collect();
            let error = parse(&text, &only).expect_err("refused");
            assert!(error.to_string().contains(expected), "{expected}\n{error:#}");
        }
    }
}
