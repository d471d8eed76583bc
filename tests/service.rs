//! `tidecast run` against a real Kafka: what a subscriber reads, what an
//! operator sees, and what a restart does.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tidecast_kafka::tools::Producer;

use crate::support::broker::{self, unique};
use crate::support::messages::{Message, Subscriber, records};
use crate::support::pipeline::{CONTEXT, HORIZON, MIN_CONTEXT, Pipeline};
use crate::support::service::Service;
use crate::support::topics::{SEASON, Series, Topics, time};
use crate::support::{LIMIT, repository, repository_text};

const SERIES: [Series; 3] = [
    Series { name: "north", partition: 0, level: 10.0 },
    Series { name: "south \"Süd\"", partition: 0, level: 200.0 },
    Series { name: "west", partition: 1, level: -50.0 },
];

#[test]
fn forecasts_arrive_exactly_once_and_a_restart_goes_on() {
    serve_stop_and_go_on("exactly-once");
}

#[test]
fn forecasts_arrive_at_least_once_and_a_restart_goes_on() {
    serve_stop_and_go_on("at-least-once");
}

fn serve_stop_and_go_on(delivery: &'static str) {
    let Some(broker) = broker::shared() else { return };
    let topics = Topics::create(broker.bootstrap(), 2);
    let pipeline = Pipeline::new(delivery);
    let script = pipeline.script(&topics);

    // Forty minutes: the last one stays open.
    topics.send_minutes(&SERIES, 0..40);
    let service = Service::start(&script, broker.bootstrap(), &[]);
    let mut subscriber = Subscriber::new(broker.bootstrap(), &topics.forecasts);
    subscriber.await_distinct(39 * SERIES.len(), &service);
    check_http(&service, &pipeline, 39);
    service.stop();
    subscriber.read_to_end();
    subscriber.assert_no_repeats();
    check_forecasts(&subscriber.messages, &pipeline, 0..39);
    assert_eq!(topics.committed(&pipeline.group), topics.ends(), "everything read is committed");

    // What was open, and the contexts, are there again.
    topics.send_minutes(&SERIES, 40..60);
    let service = Service::start(&script, broker.bootstrap(), &[]);
    subscriber.await_distinct(59 * SERIES.len(), &service);
    service.stop();
    subscriber.read_to_end();
    subscriber.assert_no_repeats();
    check_forecasts(&subscriber.messages, &pipeline, 0..59);
    assert_eq!(topics.committed(&pipeline.group), topics.ends());
    assert!(records(broker.bootstrap(), &topics.bad).is_empty());
    assert!(records(broker.bootstrap(), &topics.late).is_empty());
}

/// There is one forecast for each series and minute, and it is right.
fn check_forecasts(messages: &[Message], pipeline: &Pipeline, minutes: std::ops::Range<i64>) {
    let mut by_name: BTreeMap<_, _> =
        messages.iter().map(|message| (message.name(), message)).collect();
    assert_eq!(by_name.len(), messages.len());
    for series in SERIES {
        for minute in minutes.clone() {
            let name = (series.name.to_owned(), time(minute, 0));
            let message = by_name.remove(&name).unwrap_or_else(|| panic!("no forecast {name:?}"));
            check_forecast(message, pipeline, series, minute);
        }
    }
    assert!(by_name.is_empty(), "forecasts nobody expects: {:?}", by_name.keys());
}

fn check_forecast(message: &Message, pipeline: &Pipeline, series: Series, minute: i64) {
    let Message { record, body } = message;
    let steps = (minute + 1).min(CONTEXT);
    let at = format!("{} {}", message.site(), message.origin());

    assert_eq!(body["pipeline"], pipeline.name);
    assert_eq!(body["step_ms"], 60_000);
    assert_eq!(body["model"], json!({"name": "model", "version": "seasonal-naive/1"}));
    assert_eq!(body["context"], json!({"steps": steps, "observed": steps}), "{at}");
    let is_enough = steps >= MIN_CONTEXT;
    assert_eq!(message.status(), if is_enough { "ok" } else { "too_short" }, "{at}");
    if !is_enough {
        assert_eq!(
            body["reason"],
            format!("`{steps}` observed steps of `3` needed (`min_context`)")
        );
    } else if steps > SEASON {
        // The series repeats itself, and so does a seasonal naive forecast.
        let expected: Vec<f64> = (1..=HORIZON).map(|step| series.value(minute + step)).collect();
        assert_eq!(body["variates"][0]["name"], "kw");
        assert_eq!(message.mean(), expected, "{at}");
        assert_eq!(message.quantile("0.5"), expected, "{at}");
    }

    let key: Value = serde_json::from_slice(record.key.as_deref().unwrap()).unwrap();
    assert_eq!(key, body["series"], "the key is the series");
    assert_eq!(key, json!({"site": series.name}));
    for (header, expected) in [
        ("forecast_id", message.id()),
        ("pipeline", &pipeline.name),
        ("origin", message.origin()),
        ("model", "model"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(record.header(header), Some(expected), "{at}");
    }
}

/// What an operator and Prometheus see of a service that made all its forecasts.
fn check_http(service: &Service, pipeline: &Pipeline, minutes: i64) {
    assert_eq!(service.get("/healthz").code, 200);
    let status: Value = serde_json::from_str(&service.get("/pipelines").body).unwrap();
    let expected = json!({"ready": true, "pipelines": [
        {"name": pipeline.name, "state": "running", "generation": 1}
    ]});
    assert_eq!(status, expected);

    let series = SERIES.len() as f64;
    let of_pipeline = format!("pipeline=\"{}\"", pipeline.name);
    let records = 2.0 * series * (minutes + 1) as f64;
    let forecasts = series * minutes as f64;
    for (name, labels, expected) in [
        ("tidecast_source_records_total", "", records),
        ("tidecast_source_bad_records_total", "", 0.0),
        ("tidecast_windower_late_rows_total", "", 0.0),
        ("tidecast_windower_series", "", series),
        ("tidecast_windower_windows_closed_total", "", 2.0 * minutes as f64),
        ("tidecast_windower_open_windows", "", 2.0),
        ("tidecast_forecaster_forecasts_total", "", forecasts),
        ("tidecast_forecaster_forecasts_total", "status=\"too_short\"", 2.0 * series),
        ("tidecast_publisher_messages_total", "", forecasts),
        ("tidecast_pipeline_state", "state=\"running\"", 1.0),
        ("tidecast_pipeline_state", "state=\"failed\"", 0.0),
    ] {
        service.assert_metric(name, labels, expected);
        if labels.is_empty() {
            service.assert_metric(name, &of_pipeline, expected);
        }
    }
    check_metric_names(&service.get("/metrics").body);
}

/// What is served is documented, and the other way round.
fn check_metric_names(metrics: &str) {
    // These are served once there was something to count; only mixtures have experts,
    // only cards a memory of their own, and snapshots are off here.
    const RARE: [&str; 13] = [
        "tidecast_pipeline_stalls_total",
        "tidecast_pipeline_restarts_total",
        "tidecast_forecaster_broken_paths_total",
        "tidecast_forecaster_device_memory_bytes",
        "tidecast_forecaster_device_memory_used_bytes",
        "tidecast_forecaster_device_splits_total",
        "tidecast_windower_snapshots_total",
        "tidecast_windower_snapshot_failures_total",
        "tidecast_windower_snapshot_bytes",
        "tidecast_forecaster_expert_tokens_total",
        "tidecast_publisher_lost_letters_total",
        "tidecast_pipeline_findings",
        "tidecast_source_absent_columns",
    ];
    let documented = documented_metrics();
    let mut served = BTreeMap::new();
    for line in metrics.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["#", "TYPE", name, kind] = words.as_slice() {
            served.insert((*name).to_owned(), (*kind).to_owned());
        }
    }
    for (name, kind) in &served {
        assert_eq!(documented.get(name), Some(kind), "`{name}` and docs/metrics.md");
    }
    for name in documented.keys().filter(|name| !RARE.contains(&name.as_str())) {
        assert!(served.contains_key(name), "no `{name}`\n{metrics}");
    }
}

/// Names and kinds in the table of `docs/metrics.md`.
fn documented_metrics() -> BTreeMap<String, String> {
    let text = repository_text("docs/metrics.md");
    let rows = text.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `tidecast_")?.split_once("` | ")?;
        let (kind, _) = rest.split_once(" | ")?;
        Some((format!("tidecast_{name}"), kind.to_owned()))
    });
    let metrics: BTreeMap<_, _> = rows.collect();
    assert!(metrics.len() > 10, "{metrics:?}");
    metrics
}

/// The built-in checkpoint at a small size: a second group of consumers gets the
/// same forecasts of the same records.
#[test]
fn the_built_in_model_gives_the_same_forecasts_of_the_same_records() {
    let Some(broker) = broker::shared() else { return };
    let topics = Topics::create(broker.bootstrap(), 2);
    let pipeline = Pipeline {
        model: "'provider' = 'moirai-moe', 'path' = 'builtin:tiny', 'device' = 'cpu'",
        arguments: "horizon => 20, context => 64, samples => 8, quantiles => [0.1, 0.5, 0.9]",
        ..Pipeline::new("exactly-once")
    };
    topics.send_minutes(&SERIES, 0..20);

    let run = |topics: &Topics, pipeline: &Pipeline, settings: &[&str]| {
        let service = Service::start(&pipeline.script(topics), broker.bootstrap(), settings);
        let mut subscriber = Subscriber::new(broker.bootstrap(), &topics.forecasts);
        subscriber.await_distinct(19 * SERIES.len(), &service);
        service.stop();
        subscriber.read_to_end();
        subscriber.assert_no_repeats();
        subscriber
    };
    let first = run(&topics, &pipeline, &[]);
    // Other batches: records come five at a time, and nothing waits for company.
    let again = Pipeline { group: unique("again"), ..pipeline };
    let settings = ["pipeline.max_batch_records=5", "model.max_batch_tasks=1"];
    let second = run(&topics.with_other_forecasts(), &again, &settings);

    for message in &first.messages {
        let minute = message.context_steps() - 1;
        let same = second.find(message.site(), message.origin());
        assert_eq!(message.id(), same.id());
        assert_eq!(message.body["context"], same.body["context"]);
        // 16 observed steps are asked for unless the SQL says otherwise.
        let expected = if minute >= 15 { "ok" } else { "too_short" };
        assert_eq!((message.status(), same.status()), (expected, expected));
        if expected == "ok" {
            check_tiny(message, same);
        }
    }
}

fn check_tiny(message: &Message, same: &Message) {
    assert!(message.body["model"]["version"].as_str().unwrap().starts_with("sha256:"));
    let [low, middle, high] = ["0.1", "0.5", "0.9"].map(|level| message.quantile(level));
    assert_eq!(low.len(), 20);
    for step in 0..low.len() {
        assert!(low[step] <= middle[step] && middle[step] <= high[step], "{:#}", message.body);
    }
    assert_eq!(message.content(), same.content(), "whatever else was in the batch");
}

/// The pipeline that is shipped, on the data that are shipped.
#[test]
fn the_demo_pipeline_fills_its_topic() {
    const HOURS: usize = 400;
    const REGIONS: usize = 6;
    let Some(broker) = broker::shared() else { return };
    let suffix = unique("");
    let mut script = repository_text("pipelines/demo.sql");
    let names = ["grid_demand", "grid_demand.late", "grid_demand.bad", "grid_demand_forecasts"];
    for name in names {
        let quoted = format!("'{name}'");
        assert_eq!(script.matches(&quoted).count(), 1, "{quoted} in pipelines/demo.sql");
        script = script.replace(&quoted, &format!("'{name}{suffix}'"));
    }
    let topics = names.map(|name| format!("{name}{suffix}"));
    let wanted: Vec<(&str, i32)> = topics.iter().map(|name| (name.as_str(), 3)).collect();
    tidecast_kafka::tools::create_topics(broker.bootstrap(), &wanted).unwrap();
    send_demo_hours(broker.bootstrap(), &topics[0], HOURS);

    let prefix = format!("kafka.group_prefix={}", unique("demo"));
    let service = Service::start(&script, broker.bootstrap(), &[&prefix]);
    let mut subscriber = Subscriber::new(broker.bootstrap(), &topics[3]);
    // All hours but the last of each partition, which is open.
    subscriber.await_distinct((HOURS - 1) * REGIONS, &service);
    service.stop();

    let made: Vec<&Message> =
        subscriber.messages.iter().filter(|message| message.status() == "ok").collect();
    // Two weeks of each region are asked for.
    assert!(made.len() >= (HOURS - 336) * REGIONS, "{} forecasts", made.len());
    for message in made {
        assert!(message.context_steps() >= 336);
        assert_eq!(message.mean().len(), 24);
        let region = message.body["series"]["region"].as_str().unwrap();
        assert!(["CAL", "FLA", "NE", "NW", "NY", "TEX"].contains(&region), "{region}");
    }
    assert!(records(broker.bootstrap(), &topics[1]).is_empty(), "late rows");
    assert!(records(broker.bootstrap(), &topics[2]).is_empty(), "bad records");
}

fn send_demo_hours(bootstrap: &str, topic: &str, hours: usize) {
    let file = std::fs::File::open(repository("crates/cli/data/demo/replay.csv.gz")).unwrap();
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let producer = Producer::connect(bootstrap).unwrap();
    for line in text.lines().skip(1).take(hours * 6) {
        let fields: Vec<&str> = line.split(',').collect();
        let [time, series, value] = fields.as_slice() else { panic!("{line}") };
        let region = series.rsplit('/').next().unwrap();
        let value: f64 = value.parse().unwrap();
        let row = json!({"region": region, "demand_mw": value, "ts": time}).to_string();
        producer.send(topic, Some(region.as_bytes()), Some(row.as_bytes()), None).unwrap();
    }
    producer.flush(LIMIT).unwrap();
}

#[test]
fn an_empty_topic_is_waited_on() {
    let Some(broker) = broker::shared() else { return };
    let topics = Topics::create(broker.bootstrap(), 1);
    let pipeline = Pipeline::new("exactly-once");
    let mut service = Service::start(&pipeline.script(&topics), broker.bootstrap(), &[]);
    service
        .until("the partition is assigned", |log| log.contains("partition assigned").then_some(()));
    assert_eq!(service.get("/readyz").code, 200);
    let ended = service.stop();
    assert!(ended.stdout.is_empty(), "results go to the topic, logs to standard error: {ended:?}");
    assert!(records(broker.bootstrap(), &topics.forecasts).is_empty());
    assert_eq!(topics.committed(&pipeline.group), [None]);
}

/// What the wall clock decides is kept beside the offsets: a restart does not
/// open again what silence has closed.
#[test]
fn a_quiet_partition_is_closed_and_stays_closed() {
    let Some(broker) = broker::shared() else { return };
    let topics = Topics::create(broker.bootstrap(), 1);
    let pipeline = Pipeline { idle_timeout: "300ms", ..Pipeline::new("exactly-once") };
    let script = pipeline.script(&topics);
    let series = &SERIES[..1];
    let mut subscriber = Subscriber::new(broker.bootstrap(), &topics.forecasts);

    topics.send_minutes(series, 0..10);
    let service = Service::start(&script, broker.bootstrap(), &[]);
    subscriber.await_distinct(10, &service);
    assert_eq!(subscriber.find("north", &time(9, 0)).status(), "ok");
    service.kill();

    // Rows of the minute that was closed are late now, after the crash too.
    topics.send_minutes(series, 9..12);
    let service = Service::start(&script, broker.bootstrap(), &[]);
    subscriber.await_distinct(12, &service);
    service.stop();
    subscriber.read_to_end();
    subscriber.assert_no_repeats();
    assert_eq!(subscriber.messages.len(), 12);
    assert_eq!(records(broker.bootstrap(), &topics.late).len(), 2);
    for minute in SEASON + 1..12 {
        let message = subscriber.find("north", &time(minute, 0));
        assert_eq!(message.context_steps(), minute + 1);
        assert_eq!(message.mean()[0], series[0].value(minute + 1), "{:?}", message.name());
    }
}

#[test]
fn a_failed_pipeline_does_not_stop_its_neighbour() {
    let Some(broker) = broker::shared() else { return };
    let topics = Topics::create(broker.bootstrap(), 2);
    let good = Pipeline::new("exactly-once");
    let failing = Pipeline::new("exactly-once");
    let without_source = Topics { source: unique("missing"), ..topics.clone() };
    let mut second = failing.script(&without_source);
    for (name, other) in [
        ("TABLE readings", "TABLE more_readings"),
        ("TABLE forecasts", "TABLE more_forecasts"),
        ("INTO forecasts", "INTO more_forecasts"),
        ("MODEL model", "MODEL other_model"),
        ("'model',", "'other_model',"),
        ("VIEW load_1m", "VIEW more_load"),
        ("TABLE load_1m", "TABLE more_load"),
    ] {
        assert!(second.contains(name), "{second}");
        second = second.replace(name, other);
    }

    let script = format!("{}\n{second}", good.script(&topics));
    let mut service = Service::launch(&script, broker.bootstrap(), &[]);
    service
        .until("one pipeline has failed", |log| log.contains(&without_source.source).then_some(()));
    topics.send_minutes(&SERIES, 0..10);
    let mut subscriber = Subscriber::new(broker.bootstrap(), &topics.forecasts);
    subscriber.await_distinct(9 * SERIES.len(), &service);

    let answer = service.get("/readyz");
    assert_eq!(answer.code, 503);
    let status: Value = serde_json::from_str(&answer.body).unwrap();
    let state_of = |name: &str| {
        let pipelines = status["pipelines"].as_array().unwrap();
        pipelines.iter().find(|pipeline| pipeline["name"] == name).unwrap()["state"].clone()
    };
    assert_eq!(state_of(&good.name), "running");
    assert_eq!(state_of(&failing.name), "failed");
    assert_eq!(service.get("/healthz").code, 200);

    let ended = service.terminate();
    let said = ended.refused();
    assert!(said.contains(&failing.name) && said.contains("create it or check 'topic'"), "{said}");
    assert_eq!(topics.committed(&good.group), topics.ends());
}
