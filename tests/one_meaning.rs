//! One value, one meaning: tables as people might have them, written as CSV, JSON lines
//! and Parquet and sent to a topic, are read back through each as the same series, with
//! the same steps, contexts and forecasts.

use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use tidecast_stream::grid::Tz;
use tidecast_stream::{EventTime, Period, TimeGrid};

use crate::support::broker;
use crate::support::command::run;
use crate::support::messages::{Subscriber, printed};
use crate::support::pipeline::Pipeline;
use crate::support::random::Random;
use crate::support::service::Service;
use crate::support::topics::Topics;

/// A series as it was made: what reading it has to find.
struct Made {
    id: String,
    grid: TimeGrid,
    /// Time and value of each row; `None`: an empty cell.
    rows: Vec<(EventTime, Option<f64>)>,
    /// The time of the step of the last value.
    origin: EventTime,
    last: f64,
}

const IDS: [&str; 14] = [
    "7",
    "007",
    "7.0",
    "+7",
    "1e3",
    "true",
    "TRUE",
    "2024-08",
    "89014103211118510720",
    "a,b",
    "say \"x\"",
    "Köln",
    "null-ish",
    "-0",
];

/// One table: a few series of different ids, steps, phases, gaps and magnitudes.
fn table(random: &mut Random) -> Vec<Made> {
    let count = 2 + random.index(3);
    let first = random.index(IDS.len());
    (0..count).map(|index| series(random, IDS[(first + index * 3) % IDS.len()])).collect()
}

fn series(random: &mut Random, id: &str) -> Made {
    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3_600 * SECOND;
    let (period, phase, jitter) = match random.index(6) {
        0 => (Period::Fixed(HOUR), 0, 0),
        1 => (Period::Fixed(HOUR), 17 * 60 * SECOND, 0),
        2 => (Period::Fixed(60 * SECOND), 0, 9 * SECOND),
        3 => (Period::Days(1), 6 * HOUR, 0),
        4 => (Period::Months(1), 0, 0),
        _ => (Period::Days(7), 4 * 24 * HOUR, 0),
    };
    let grid = TimeGrid::new(period, phase, Tz::UTC);
    let start: EventTime = "1999-12-20T00:00:00Z".parse().unwrap();
    let start = start.plus_micros(random.index(20_000) as i64 * 24 * HOUR / 2);
    let first = grid.floor(start).unwrap();
    let magnitude = 10_f64.powi(random.index(28) as i32 - 12);
    let steps = 40 + random.index(40);
    let mut rows = Vec::new();
    let (mut origin, mut last) = (first, f64::NAN);
    for step in 0..steps {
        let is_end = step == 0 || step + 1 == steps;
        if !is_end && random.index(8) == 0 {
            continue; // a gap
        }
        let time = grid.after(first, step as i64).unwrap();
        let late = if jitter > 0 && !is_end { random.index(jitter as usize) as i64 } else { 0 };
        let value =
            (is_end || random.index(10) > 0).then(|| (random.uniform() * 2.0 - 0.5) * magnitude);
        if let Some(value) = value {
            (origin, last) = (time, value);
        }
        // Times to the millisecond, which all of the units but one can say.
        rows.push((time.plus_micros(late - late % 1_000), value));
    }
    Made { id: id.to_owned(), grid, rows, origin, last }
}

/// How a file writes its times.
#[derive(Clone, Copy, Debug)]
enum Times {
    Iso,
    Milliseconds,
    Microseconds,
    Nanoseconds,
    SecondsWithFraction,
}

impl Times {
    const ALL: [Times; 5] = [
        Times::Iso,
        Times::Milliseconds,
        Times::Microseconds,
        Times::Nanoseconds,
        Times::SecondsWithFraction,
    ];

    fn write(self, time: EventTime) -> String {
        let micros = time.as_micros();
        match self {
            Self::Iso => time.to_string(),
            Self::Milliseconds => (micros / 1_000).to_string(),
            Self::Microseconds => micros.to_string(),
            Self::Nanoseconds => (micros * 1_000).to_string(),
            Self::SecondsWithFraction => {
                format!("{}.{:03}", micros / 1_000_000, micros % 1_000_000 / 1_000)
            }
        }
    }
}

/// All rows, in an order of no meaning.
fn shuffled<'a>(table: &'a [Made], random: &mut Random) -> Vec<(&'a str, EventTime, Option<f64>)> {
    let rows = |made: &'a Made| made.rows.iter().map(|row| (made.id.as_str(), row.0, row.1));
    let mut all: Vec<_> = table.iter().flat_map(rows).collect();
    for index in (1..all.len()).rev() {
        all.swap(index, random.index(index + 1));
    }
    all
}

fn write_files(
    folder: &Path,
    rows: &[(&str, EventTime, Option<f64>)],
    random: &mut Random,
) -> Vec<PathBuf> {
    let times = random.choose(&Times::ALL);
    let separator = random.choose(&[',', ';', '\t']);
    let mut csv = format!("ts{separator}id{separator}y\n");
    let mut json = String::new();
    let as_text = random.index(2) == 0;
    for (id, time, value) in rows {
        let quoted = format!("\"{}\"", id.replace('"', "\"\""));
        let number = value.map_or(String::new(), |value| value.to_string());
        writeln!(csv, "{}{separator}{quoted}{separator}{number}", times.write(*time)).unwrap();
        let time = times.write(*time);
        let time = match (times, as_text) {
            (Times::Iso, _) | (_, true) => json!(time).to_string(),
            _ => time,
        };
        writeln!(json, "{{\"ts\":{time},\"id\":{},\"y\":{}}}", json!(id), json!(value)).unwrap();
    }
    let columns: [(&str, ArrayRef); 3] = [
        (
            "ts",
            Arc::new(TimestampMicrosecondArray::from_iter_values(
                rows.iter().map(|row| row.1.as_micros()),
            )),
        ),
        ("id", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0)))),
        ("y", Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>())),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let files = ["t.csv", "t.jsonl", "t.parquet"].map(|name| folder.join(name));
    fs::write(&files[0], csv).unwrap();
    fs::write(&files[1], json).unwrap();
    let file = File::create(&files[2]).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    files.to_vec()
}

/// The messages of a file.
fn forecast(path: &Path) -> Vec<Value> {
    let model = ["--model", "seasonal-naive", "--season", "1", "--format", "jsonl"];
    let columns = ["--time", "ts", "--target", "y", "--series", "id", "--horizon", "2"];
    let input = ["forecast", "--input", path.to_str().unwrap()];
    printed(&run(&[&input[..], &columns, &model].concat()))
}

#[test]
fn the_same_table_is_the_same_in_every_format() {
    let seeds = std::env::var("TIDECAST_TABLES").ok().and_then(|text| text.parse().ok());
    for seed in 0..seeds.unwrap_or(12) {
        let mut random = Random(seed);
        let folder = tempfile::tempdir().unwrap();
        let table = table(&mut random);
        let rows = shuffled(&table, &mut random);
        let files = write_files(folder.path(), &rows, &mut random);
        let found: Vec<Vec<Value>> = files.iter().map(|path| forecast(path)).collect();
        for (path, messages) in files.iter().zip(&found) {
            assert_eq!(messages, &found[0], "seed {seed}: {}", path.display());
        }
        for made in &table {
            let message = found[0]
                .iter()
                .find(|message| message["series"]["id"] == made.id.as_str())
                .unwrap_or_else(|| panic!("seed {seed}: no series `{}`", made.id));
            let place = format!("seed {seed}, series `{}`, step {}", made.id, made.grid);
            assert_eq!(message["origin"], made.origin.to_string(), "{place}");
            assert_eq!(message["step"], made.grid.iso8601(), "{place}");
            let observed = made.rows.iter().filter(|row| row.1.is_some()).count();
            assert_eq!(message["context"]["observed"], observed, "{place}");
            let mean = message["variates"][0]["mean"][0].as_f64().unwrap();
            assert!((mean - made.last).abs() <= made.last.abs() * 1e-12, "{place}: {mean}");
        }
        assert_eq!(found[0].len(), table.len(), "seed {seed}: nobody else");
    }
}

/// The same SQL over a file and over a topic, whose records say their times as text or as
/// numbers of one unit.
#[test]
fn a_topic_and_a_file_of_the_same_records_are_forecast_alike() {
    let Some(broker) = broker::shared() else { return };
    let topics = Topics::create(broker.bootstrap(), 1);
    let mut random = Random(42);
    let start: EventTime = "2024-08-01T00:00:00Z".parse().unwrap();
    let mut lines = Vec::new();
    for step in 0..40_i64 {
        for (site, level) in [("007", 1e9), ("7", 1e-9)] {
            if random.index(8) == 0 {
                continue;
            }
            let times = random.choose(&[Times::Iso, Times::Milliseconds]);
            let time = times.write(start.plus_micros(step * 60_000_000));
            let time = if time.contains('T') { json!(time).to_string() } else { time };
            let value = match random.index(10) {
                0 => "NaN".to_owned(),
                1 => "\"NA\"".to_owned(),
                2 => format!("\"{}\"", level * (1.0 + step as f64)),
                _ => format!("{}", level * (1.0 + step as f64)),
            };
            // Where text is declared a number is its text.
            let site = if random.index(2) == 0 || site == "007" {
                json!(site).to_string()
            } else {
                site.to_owned()
            };
            lines.push(format!("{{\"site\":{site},\"kw\":{value},\"ts\":{time}}}"));
        }
    }
    let records: Vec<(i32, Vec<u8>)> =
        lines.iter().map(|line| (0, line.clone().into_bytes())).collect();
    topics.send(&records);
    let pipeline = Pipeline { idle_timeout: "500ms", ..Pipeline::new("exactly-once") };
    let script = pipeline.script(&topics);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.jsonl");
    fs::write(&file, lines.join("\n")).unwrap();
    let source = script.find("'connector' = 'kafka', 'topic'").unwrap();
    let end = source + script[source..].find(");").unwrap();
    let of_file = format!(
        "{}'connector' = 'filesystem', 'path' = '{}'{}",
        &script[..source],
        file.display(),
        &script[end..]
    );
    let sink = of_file.rfind("'connector' = 'kafka'").unwrap();
    let end = sink + of_file[sink..].find(");").unwrap();
    let of_file = format!("{}'connector' = 'stdout'{}", &of_file[..sink], &of_file[end..]);
    let sql = folder.path().join("file.sql");
    fs::write(&sql, of_file).unwrap();
    let of_file = printed(&run(&["run", sql.to_str().unwrap(), "--set", "server.enabled=false"]));

    let service = Service::start(&script, &topics.bootstrap, &["state.url=off"]);
    let mut subscriber = Subscriber::new(&topics.bootstrap, &topics.forecasts);
    subscriber.await_distinct(of_file.len(), &service);
    let content = |message: &Value| {
        let mut message = message.clone();
        message.as_object_mut().unwrap().remove("is_backfill");
        message
    };
    let mut from_file: Vec<String> = of_file.iter().map(|m| content(m).to_string()).collect();
    let mut from_topic: Vec<String> =
        subscriber.messages.iter().map(|message| message.content().to_string()).collect();
    from_file.sort();
    from_topic.sort();
    assert!(from_file.len() > 50, "{} messages", from_file.len());
    assert_eq!(from_topic, from_file);
}
