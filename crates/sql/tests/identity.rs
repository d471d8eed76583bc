//! What state is marked with: exactly this, and the same for the same query.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tidecast_sql::window::{legacy_window_identity, state_identity, window_identity};
use tidecast_sql::{PipelinePlan, parse_scripts};

use self::models::MODELS;

#[path = "support/models.rs"]
mod models;

fn plans(text: &str) -> Vec<PipelinePlan> {
    parse_scripts(&[("a.sql".to_owned(), text.to_owned())], &MODELS)
        .unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// The canonical form of every pipeline in `tests/identity` is what the `.expected` file
/// beside it says, to the letter: users' snapshots and commits hold it, or a digest of it.
///
/// Who breaks a pin, by an upgrade of DataFusion for instance, makes every pipeline of
/// that kind refuse what it committed. So `TIDECAST_BLESS=1` writes the pins that are
/// missing and moves none: first see whether the form can stay what it was; where it
/// cannot, it needs another version, and a way from this one.
#[test]
fn the_canonical_form_is_pinned() {
    let bless = std::env::var_os("TIDECAST_BLESS").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/identity");
    let mut pipelines = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sql") {
            continue;
        }
        let mut found = String::new();
        for plan in plans(&fs::read_to_string(&path).unwrap()) {
            pipelines += 1;
            found.push_str(&format!("== {}\n", plan.name));
            for (part, text) in state_identity(&plan) {
                found.push_str(&format!("{part}\n"));
                text.lines().for_each(|line| found.push_str(&format!("    {line}\n")));
            }
        }
        let expected = path.with_extension("expected");
        if bless && !expected.exists() {
            fs::write(&expected, &found).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        for (line, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
            assert_eq!(found, expected, "line {} of {path:?}", line + 1);
        }
        assert_eq!(found, expected, "{path:?}");
    }
    assert!(pipelines >= 12, "the cases are missing");
}

/// A pipeline whose parts can be replaced.
#[derive(Clone)]
struct Pipeline {
    columns: &'static str,
    watermark: &'static str,
    options: &'static str,
    view: &'static str,
    forecast: &'static str,
}

const USUAL: Pipeline = Pipeline {
    columns: "site VARCHAR, kind VARCHAR, kw DOUBLE, n INT, ts TIMESTAMP",
    watermark: "ts - INTERVAL '30' SECOND",
    options: "",
    view: "SELECT site, window_end AS t, avg(kw) AS kw
           FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
           WHERE kw > 1 GROUP BY site, window_start, window_end",
    forecast: "series => 'site', time => 't', target => 'kw', horizon => 2",
};

impl Pipeline {
    fn plan(&self) -> PipelinePlan {
        let Self { columns, watermark, options, view, forecast } = self;
        let script = format!(
            "CREATE TABLE readings ({columns}, WATERMARK FOR ts AS {watermark})
             WITH ('connector'='kafka', 'topic'='readings'{options});
             CREATE TABLE out WITH ('connector'='stdout');
             CREATE VIEW v AS {view};
             CREATE PIPELINE p AS INSERT INTO out SELECT * FROM forecast(TABLE v, {forecast});"
        );
        plans(&script).remove(0)
    }

    /// What a commit is marked with.
    fn marks(&self) -> String {
        format!("{:?}", window_identity(&self.plan()))
    }

    /// Which parts of the marks are others than those of `self`.
    fn changed(&self, other: &Self) -> Vec<&'static str> {
        let (ours, theirs) = (window_identity(&self.plan()), window_identity(&other.plan()));
        ours.into_iter().zip(theirs).filter(|(a, b)| a != b).map(|(a, _)| a.0).collect()
    }
}

fn viewed(view: &'static str) -> Pipeline {
    Pipeline { view, ..USUAL }
}

#[test]
fn the_same_query_in_other_words_is_the_same() {
    let same = [
        // Spaces, capitals, parentheses, comments, aliases of tables, names that stay.
        "select R.site as site, r.window_end AS t, avg(r.kw) kw -- by minute
         from TUMBLE(readings, DESCRIPTOR(ts), interval '60' second) as r
         where ((r.kw) > 1) group by r.site, r.window_start, r.window_end",
        // A constant of the type that the comparison has anyway, casts that change nothing.
        "SELECT site, window_end AS t, avg(CAST(kw AS DOUBLE)) AS kw
         FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
         WHERE kw > 1.0 GROUP BY site, window_start, window_end",
        // A layer between that hands on what it gets.
        "SELECT site, window_end AS t, avg(kw) AS kw
         FROM TUMBLE(TABLE (SELECT * FROM readings), DESCRIPTOR(ts), INTERVAL '1' MINUTE)
         WHERE kw > 1 GROUP BY site, window_start, window_end",
        "WITH few AS (SELECT ts, kw AS value, site AS place FROM readings),
              closed AS (SELECT place AS p, window_end AS w, mean(value) AS m
                         FROM TUMBLE(TABLE few, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
                         WHERE value > 1 GROUP BY place, window_start, window_end)
         SELECT p AS site, w AS t, m AS kw FROM closed",
    ];
    for view in same {
        assert_eq!(viewed(view).marks(), USUAL.marks(), "{view}");
    }
    let counted = |count: &str| {
        let view = USUAL.view.replace("avg(kw)", count);
        window_identity(&Pipeline { view: view.leak(), ..USUAL }.plan())
    };
    assert_eq!(counted("count(*)"), counted("count(1)"));
    assert_eq!(counted("count(*)"), counted("COUNT()"));
    let moved = |watermark| Pipeline { watermark, ..USUAL }.marks();
    assert_eq!(
        moved("CASE WHEN kw IS NOT NULL AND n > 1 THEN ts - INTERVAL '1' MINUTE END"),
        moved("CASE WHEN (kw is not null) and (n > 1) THEN ts - INTERVAL '60' SECOND END"),
    );
    // Columns that are not asked for, and what turns records away.
    let wider = Pipeline {
        columns: "extra INT, site VARCHAR NOT NULL, kind VARCHAR, kw DOUBLE, n BIGINT, ts TIMESTAMP",
        ..USUAL
    };
    assert_eq!(USUAL.changed(&wider), [""; 0]);
    let bounds = Pipeline { options: ", 'max.future'='2h', 'max.past'='none'", ..USUAL };
    assert_eq!(USUAL.changed(&bounds), [""; 0]);
}

#[test]
fn other_queries_are_others_and_say_in_what() {
    let views = [
        USUAL.view,
        // Of these explain says the same: parentheses and casts do not show there.
        "SELECT site, window_end AS t, avg(kw + kw * 2) AS kw
         FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
         WHERE kw > 1 GROUP BY site, window_start, window_end",
        "SELECT site, window_end AS t, avg((kw + kw) * 2) AS kw
         FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
         WHERE kw > 1 GROUP BY site, window_start, window_end",
        "SELECT site, window_end AS t, avg(CAST(kw AS INT)) AS kw
         FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
         WHERE kw > 1 GROUP BY site, window_start, window_end",
        "SELECT site, window_end AS t, avg(TRY_CAST(kw AS INT)) AS kw
         FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
         WHERE kw > 1 GROUP BY site, window_start, window_end",
        // It can fail for a row, which is then a bad record.
        "SELECT site, window_end AS t, avg(kw) AS kw
         FROM TUMBLE(TABLE (SELECT site, kw, 1 / n AS x, ts FROM readings), DESCRIPTOR(ts), INTERVAL '1' MINUTE)
         WHERE kw > 1 GROUP BY site, window_start, window_end",
        "SELECT site, window_end AS t, avg(kw) AS kw
         FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
         WHERE kw > '1' AND kw < 'Infinity' GROUP BY site, window_start, window_end",
        "SELECT kind AS site, window_end AS t, avg(kw) AS kw
         FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
         WHERE kw > 1 GROUP BY kind, window_start, window_end",
        "SELECT site, window_start AS t, avg(kw) AS kw
         FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
         WHERE kw > 1 GROUP BY site, window_start, window_end",
        "SELECT site, window_end AS t, avg(kw) AS kw
         FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '1' SECOND)
         WHERE kw > 1 GROUP BY site, window_start, window_end",
        "SELECT site, window_end AS t, avg(kw) AS kw
         FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '-1' SECOND)
         WHERE kw > 1 GROUP BY site, window_start, window_end",
        "SELECT site, window_end AS t, avg(kw) AS kw
         FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
         WHERE kw > 1 GROUP BY site, window_start, window_end HAVING avg(kw) > 2",
    ];
    let marks: BTreeSet<String> = views.iter().map(|view| viewed(view).marks()).collect();
    assert_eq!(marks.len(), views.len());
    for view in &views[1..] {
        assert_eq!(USUAL.changed(&viewed(view)), ["the window query"], "{view}");
    }
    let others = [
        (Pipeline { options: ", 'timestamp.unit'='ms'", ..USUAL }, vec!["timestamp.unit"]),
        (Pipeline { watermark: "ts", ..USUAL }, vec!["the watermark"]),
        (
            Pipeline { watermark: "CASE WHEN n > 1 THEN ts - INTERVAL '30' SECOND END", ..USUAL },
            vec!["the watermark"],
        ),
        (
            Pipeline { columns: "site VARCHAR, kw REAL, ts TIMESTAMP", ..USUAL },
            vec!["the window query"],
        ),
        (
            Pipeline { columns: "site VARCHAR, kw DOUBLE, ts TIMESTAMP(3)", ..USUAL },
            vec!["the watermark", "the window query"],
        ),
    ];
    for (other, parts) in others {
        assert_eq!(USUAL.changed(&other), parts);
    }
    let both = Pipeline {
        view: "SELECT site, kind, window_start AS s, window_end AS t, avg(kw) AS kw
         FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
         GROUP BY site, kind, window_start, window_end",
        ..USUAL
    };
    let by = |forecast| Pipeline { forecast, ..both.clone() };
    let one = by("series => ['site', 'kind'], time => 't', target => 'kw', horizon => 2");
    let other = by("series => ['kind', 'site'], time => 's', target => 'kw', horizon => 2");
    assert_eq!(one.changed(&other), ["the series", "the time"]);
}

/// What builds before version 2 marked windows of a calendar with: no words of `explain`
/// that may change, but those that were there at the time.
#[test]
fn the_form_before_says_what_it_said() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/identity/windows.sql");
    let plans = plans(&fs::read_to_string(path).unwrap());
    let windows = plans.iter().map(|plan| {
        let [_, (_, query), ..] = legacy_window_identity(plan);
        query.lines().next().unwrap().to_owned()
    });
    let expected = [
        "window: tumbling, 15m by `ts`, offset 5m",
        "window: tumbling, 1 day, offset 6h, America/New_York by `ts`",
        "window: tumbling, 1 business day by `ts`",
        "window: tumbling, 1 month from the last day, Europe/Berlin by `ts`",
        "window: tumbling, 1 quarter from day 15 from month 2 by `ts`",
    ];
    assert_eq!(windows.collect::<Vec<_>>(), expected);
}

#[test]
fn a_long_sum_is_no_deep_recursion() {
    let sum = vec!["kw"; 200].join(" + ");
    let view = USUAL.view.replace("avg(kw)", &format!("avg({sum})"));
    let marks = window_identity(&Pipeline { view: view.leak(), ..USUAL }.plan());
    assert!(marks[2].1.contains("plus(plus(plus("), "{marks:?}");
}
