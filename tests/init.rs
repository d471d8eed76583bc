//! `tidecast init`: a pipeline proposed from what is in a topic.

use serde_json::json;
use tidecast_kafka::tools::{Producer, create_topics};

use crate::support::broker;
use crate::support::command::run;
use crate::support::messages::Subscriber;
use crate::support::service::Service;

const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

fn minutes_ago(minutes: i64) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    (i64::try_from(now.as_secs() / 60).unwrap() - minutes) * 60_000
}

#[test]
fn a_topic_of_nested_json_is_forecast_by_what_init_writes() {
    let Some(broker) = broker::shared() else { return };
    let topic = broker::unique("gateways");
    let forecasts = format!("{topic}.forecasts");
    create_topics(broker.bootstrap(), &[(topic.as_str(), 2), (forecasts.as_str(), 1)]).unwrap();
    let producer = Producer::connect(broker.bootstrap()).unwrap();
    let start = minutes_ago(40);
    for minute in 0..30 {
        for (partition, meter) in [(0, "007"), (1, "Kiel's"), (1, "9")] {
            // Now and then one that is a little late.
            let at = start + (minute - i64::from(minute % 10 == 5) * 2) * 60_000;
            let values = json!({"powerKW": 1.5 + (minute % 7) as f64, "volts": 230});
            let record = json!({"device": {"meterId": meter, "fw": "1.2.3"}, "eventTime": at,
                "payload": {"values": values}});
            let value = record.to_string();
            let (value, at) = (Some(value.as_bytes()), Some(at));
            producer.send_to(&topic, Some(partition), None, value, at).unwrap();
        }
    }
    producer.send_to(&topic, Some(0), Some(b"007"), None, None).unwrap();
    producer.flush(LIMIT).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.sql");
    let file = file.to_str().unwrap();
    let init = ["init", "--kafka", broker.bootstrap(), "--topic", &topic, "--output", file];
    let said = run(&init);
    said.succeeded();
    assert!(said.stderr.contains("could also be `volts`"), "{}", said.stderr);
    let script = std::fs::read_to_string(file).unwrap();
    for part in [
        "meterid VARCHAR NOT NULL",
        "eventtime TIMESTAMP NOT NULL",
        "powerkw DOUBLE",
        "'fields.meterid' = '$.device.meterId'",
        "'fields.powerkw' = '$.payload.values.powerKW'",
        "'tombstones' = 'skip'",
        "eventtime - INTERVAL '1' MINUTE",
        "avg(powerkw) AS powerkw",
        "INTERVAL '1' MINUTE",
        "which hold 3 series",
    ] {
        assert!(script.contains(part), "{part}:\n{script}");
    }
    let live = run(&["check", "--live", file]);
    let said = live.succeeded();
    assert!(said.contains("2 partitions: of its 91 newest records 90 can be used"), "{said}");
    assert!(said.contains("1 without a value are passed over"), "{said}");
    assert!(said.contains(&format!("topic `{forecasts}` is there, 1 partition")), "{said}");
    // With another field's name it says which column nobody has, with another topic's that.
    let wrong = folder.path().join("wrong.sql");
    let wrong = wrong.to_str().unwrap();
    std::fs::write(wrong, script.replace("values.powerKW", "values.powerkWh")).unwrap();
    let said = run(&["check", "--live", wrong]);
    let said = said.succeeded();
    assert!(
        said.contains("no record had a column `powerkw` at `$.payload.values.powerkWh`"),
        "{said}"
    );
    std::fs::write(wrong, script.replace("'json'", "'csv'").replace("  'fields.", "  -- 'fields."))
        .unwrap();
    let refused = run(&["check", "--live", wrong]);
    assert!(refused.refused().contains("none of the newest records"), "{}", refused.stderr);
    std::fs::write(wrong, script.replace(".forecasts'", ".forecast'")).unwrap();
    let refused = run(&["check", "--live", wrong]);
    assert!(refused.refused().contains("does not exist"), "{}", refused.stderr);
    // What is there already is not written over.
    let again = run(&init);
    assert!(again.refused().contains("is there already"), "{}", again.stderr);
    // And it runs.
    let script = script.replace("'warm'", "'earliest-offset'").replace("'30s'", "'500ms'");
    let script = script.replace("context => 512", "context => 512, min_context => 20");
    let script = script.replace("horizon => 60", "horizon => 2");
    let service = Service::start(&script, broker.bootstrap(), &["state.url=off"]);
    let mut subscriber = Subscriber::new(broker.bootstrap(), &forecasts);
    subscriber.await_distinct(3 * 27, &service);
    service.stop();
    let series: std::collections::BTreeSet<String> = subscriber
        .messages
        .iter()
        .filter(|message| message.status() == "ok")
        .map(|message| message.body["series"]["meterid"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(series.into_iter().collect::<Vec<_>>(), ["007", "9", "Kiel's"]);
}

/// Fields are called what they are called: words of SQL, letters of any language.
#[test]
fn any_field_may_be_time_series_and_value() {
    let Some(broker) = broker::shared() else { return };
    let producer = Producer::connect(broker.bootstrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.sql");
    let file = file.to_str().unwrap();
    for (time, series, value) in [
        ("timestamp", "user", "level"),
        ("date", "from", "interval"),
        ("end", "Größe", "température"),
        ("event time", "group", "select"),
        ("window", "it's", "a\"b"),
        ("current_timestamp", "table", "1h"),
    ] {
        let topic = broker::unique("words");
        create_topics(broker.bootstrap(), &[(topic.as_str(), 1)]).unwrap();
        for minute in 0..6 {
            let at = format!("2026-11-22T10:0{}:00Z", minute / 2);
            let name = ["a", "b"][minute % 2];
            let record = json!({"x": {time: at, series: name, value: minute as f64 + 0.5}});
            let record = record.to_string();
            let sent = Some(record.as_bytes());
            producer.send_to(&topic, Some(0), None, sent, None).unwrap();
        }
        producer.flush(LIMIT).unwrap();
        let kafka = broker.bootstrap();
        run(&["init", "--kafka", kafka, "--topic", &topic, "-o", file, "--force"]).succeeded();
        let script = std::fs::read_to_string(file).unwrap();
        assert!(script.contains("which hold 2 series"), "{script}");
        run(&["check", file]).succeeded();
    }
}

/// What a sample tells beyond names: series of several columns, times by what they are, values
/// that only grow.
#[test]
fn what_is_guessed_follows_from_the_records() {
    let Some(broker) = broker::shared() else { return };
    let producer = Producer::connect(broker.bootstrap()).unwrap();
    let start = 1_790_000_000;
    let proposed = |records: Vec<serde_json::Value>| {
        let topic = broker::unique("guess");
        create_topics(broker.bootstrap(), &[(topic.as_str(), 1)]).unwrap();
        for record in &records {
            let record = record.to_string();
            producer.send_to(&topic, Some(0), None, Some(record.as_bytes()), None).unwrap();
        }
        producer.flush(LIMIT).unwrap();
        let said = run(&["init", "--kafka", broker.bootstrap(), "--topic", &topic]);
        said.succeeded();
        said.stdout
    };
    let each = |count: i64, record: &dyn Fn(i64, &str, &str) -> serde_json::Value| {
        let of = |at| [("1", "007"), ("1", "7"), ("2", "007"), ("2", "7")].map(|(a, b)| (at, a, b));
        (0..count).flat_map(of).map(|(at, a, b)| record(at, a, b)).collect()
    };
    let day = |at: i64| format!("2026-{:02}-{:02}", 3 + at / 28, 1 + at % 28);
    let sold = |at, store: &str, sku: &str| json!({"store": store, "sku": sku, "date": day(at), "units": 3 + at % 4, "price": 9.99});
    let sold = proposed(each(60, &sold));
    let counted = |at: i64, gateway: &str, meter: &str| {
        json!({"gw": format!("g{gateway}"), "readings": [
            {"t": start + 15 * at, "name": meter, "register": 1000.0 + at as f64 * 0.25}]})
    };
    let counted = proposed(each(40, &counted));
    let micros = |at: i64, _: &str, host: &str| json!({"hostName": format!("h{host}"), "t_us": (start + 120 * at) * 1_000_000 + at, "n": at % 5});
    let micros = proposed(each(40, &micros).into_iter().step_by(2).collect());
    let written = |at: i64, _: &str, site: &str| json!({"site": format!("s{site}"), "ts": format!("{:02}/02/2026 10:00", 1 + at % 28), "kw": at % 5});
    let written = proposed(each(40, &written).into_iter().step_by(2).collect());
    // What is proposed for several topics runs in one service.
    let folder = tempfile::tempdir().unwrap();
    for (number, script) in [&sold, &counted, &micros, &written].into_iter().enumerate() {
        std::fs::write(folder.path().join(format!("{number}.sql")), script).unwrap();
    }
    run(&["check", folder.path().to_str().unwrap()]).succeeded();
    for (script, parts) in [
        (&sold, &["GROUP BY store, sku, window_start", "which hold 4 series", "sum(units)"][..]),
        (&sold, &["\"date\" TIMESTAMP", "INTERVAL '1' DAY", "series => ['store', 'sku']"]),
        (&counted, &["gw VARCHAR NOT NULL", "t TIMESTAMP NOT NULL", "which hold 4 series"]),
        (
            &counted,
            &["INTERVAL '15' SECOND", "max(register)", "write `max(register) - min(register)`"],
        ),
        (&micros, &["t_us TIMESTAMP NOT NULL", "INTERVAL '2' MINUTE", "hostname VARCHAR"]),
        (&written, &["`ts` is called like a time, and `01/02/2026 10:00` is read as none"]),
        (&written, &["GROUP BY site, window_start"]),
    ] {
        for part in parts {
            assert!(script.contains(part), "{part}:\n{script}");
        }
    }
}

#[test]
fn a_topic_that_cannot_be_proposed_for_says_why() {
    let Some(broker) = broker::shared() else { return };
    let producer = Producer::connect(broker.bootstrap()).unwrap();
    let init = |topic: &str| {
        let ended = run(&["init", "--kafka", broker.bootstrap(), "--topic", topic]);
        assert!(ended.stdout.is_empty(), "{}", ended.stdout);
        ended.refused().to_owned()
    };
    for (records, reason) in [
        (vec![], "has no records to look at"),
        (vec![r#"{"site":"a"}"#, r#"{"site":"a"}"#], "no field is a number"),
        (vec!["\0\0\0\0\u{7}x"], "name schema 7; say where the registry is: --registry"),
        (vec!["what is this"], "of no format that is known"),
    ] {
        let topic = broker::unique("unfit");
        create_topics(broker.bootstrap(), &[(topic.as_str(), 1)]).unwrap();
        for record in &records {
            let value = Some(record.as_bytes());
            producer.send_to(&topic, Some(0), None, value, None).unwrap();
        }
        producer.flush(LIMIT).unwrap();
        let error = init(&topic);
        assert!(error.contains(reason) && error.contains(&topic), "{reason}: {error}");
    }
    assert!(init("no-such-topic").contains("does not exist"));
}
