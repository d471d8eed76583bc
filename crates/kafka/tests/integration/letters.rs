//! A record that cannot be used never stops the pipeline: letters about it fit
//! their topic, or go without, and the forecasts around them are out once.

use std::thread;
use std::time::Duration;

use rdkafka::admin::{AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tidecast_kafka::tools::{Isolation, Record};
use tidecast_kafka::{Delivery, KafkaSink, KafkaSinkConfig};
use tidecast_stream::{
    BadRecord, Blame, LateRecord, Offset, Partition, RecordPosition, Sink, Transaction,
};

use crate::broker::{self, unique};
use crate::common::{
    Reader, admin, fill, forecast, ids, read_all, source_config, transaction, wait,
};

/// A pipeline's topics on a real broker, and its sink.
struct Setting {
    bootstrap: &'static str,
    input: String,
    output: String,
    late: String,
    bad: String,
    delivery: Delivery,
    reader: Reader,
}

/// Runs `test` once for each delivery, where there is a broker; `late` and `bad`
/// are the settings of the topics of letters, `output` those of the forecasts'.
fn each_delivery(output: Settings<'_>, letters: Settings<'_>, test: impl Fn(Setting)) {
    let Some(broker) = broker::shared() else { return };
    let bootstrap = broker.bootstrap();
    let transactional_id = unique("writer");
    for delivery in [Delivery::AtLeastOnce, Delivery::ExactlyOnce { transactional_id }] {
        let [input, out, late, bad] = ["in", "out", "late", "bad"].map(unique);
        create(bootstrap, &[(&input, &[]), (&out, output), (&late, letters), (&bad, letters)]);
        fill(bootstrap, &input, 1, 20);
        let mut reader = Reader::new(source_config(bootstrap, &unique("group"), &input));
        reader.catch_up(1);
        test(Setting { bootstrap, input, output: out, late, bad, delivery, reader });
    }
}

impl Setting {
    fn sink(&self) -> KafkaSink {
        let mut config = KafkaSinkConfig::new(self.bootstrap, &self.output);
        config.late_topic = Some(self.late.clone());
        config.bad_topic = Some(self.bad.clone());
        config.delivery = self.delivery.clone();
        KafkaSink::connect(config, Some(self.reader.source.committer())).unwrap()
    }

    fn transaction(&self, ids: &[&str], offset: i64) -> Transaction {
        transaction(ids, &self.input, &[(0, offset)])
    }

    fn dead(&self, key: Option<Vec<u8>>, payload: Vec<u8>) -> BadRecord {
        BadRecord { position: self.position(4), key, payload: Some(payload), error: "no".into() }
    }

    fn position(&self, offset: i64) -> RecordPosition {
        RecordPosition { partition: Partition::new(self.input.as_str(), 0), offset: Offset(offset) }
    }

    fn letters(&self, topic: &str) -> Vec<Record> {
        read_all(self.bootstrap, topic, Isolation::ReadCommitted)
    }

    fn assert_forecasts(&self, expected: &[&str]) {
        assert_eq!(ids(self.bootstrap, &self.output, Isolation::ReadCommitted), expected);
    }

    /// What a new member of the group finds.
    fn committed(self) -> Option<i64> {
        let group = self.reader.source.committer();
        let group = format!("{group:?}");
        let id = group.split('"').nth(1).unwrap().to_owned();
        drop(self.reader);
        let mut next = Reader::new(source_config(self.bootstrap, &id, &self.input));
        next.catch_up(1);
        next.commits[&0].as_ref().map(|commit| commit.offset.0)
    }
}

/// Settings of a topic.
pub(crate) type Settings<'a> = &'a [(&'a str, &'a str)];

/// Makes topics of one partition, each with settings of its own.
pub(crate) fn create<'a>(bootstrap: &str, topics: &[(&'a str, Settings<'a>)]) {
    let mut asked = Vec::new();
    for (name, settings) in topics {
        let new = NewTopic::new(name, 1, TopicReplication::Fixed(1));
        asked.push(settings.iter().fold(new, |new, (setting, value)| new.set(setting, value)));
    }
    for created in wait(admin(bootstrap).create_topics(&asked, &AdminOptions::new())).unwrap() {
        created.unwrap();
    }
}

fn alter(bootstrap: &str, topic: &str, name: &str, value: &str) {
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
    wait(admin(bootstrap).alter_configs(&[change], &AdminOptions::new())).unwrap();
    // The controller has it, the broker a moment later.
    thread::park_timeout(Duration::from_secs(1));
}

/// Bytes that no compression makes fewer, the same each time.
fn noise(bytes: usize, seed: u64) -> String {
    let mut state = seed | 1;
    let next = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        let symbols = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        char::from(symbols[(*state >> 58) as usize])
    };
    (0..bytes).map(|_| next(&mut state)).collect()
}

#[test]
fn a_letter_and_its_key_fit_together() {
    each_delivery(&[], &[], |setting| {
        let mut sink = setting.sink();
        let mut with_giant = setting.transaction(&["a", "b"], 5);
        let (key, payload) = (noise(110_000, 1), noise(915_000, 2));
        with_giant.bad.push(setting.dead(Some(key.clone().into()), payload.clone().into()));
        sink.publish(with_giant).unwrap();
        sink.publish(setting.transaction(&["c"], 7)).unwrap();
        sink.close().unwrap();
        setting.assert_forecasts(&["a", "b", "c"]);
        let letters = setting.letters(&setting.bad);
        let [letter] = letters.as_slice() else { panic!("{} letters", letters.len()) };
        assert_eq!(letter.key.as_deref(), Some(key.as_bytes()));
        assert!(payload.as_bytes().starts_with(letter.payload.as_deref().unwrap()));
        assert_eq!(letter.header("truncated_from_bytes"), Some("915000"));
        assert_eq!(letter.header("truncated_key_from_bytes"), None);
        assert_eq!(letter.header("offset"), Some("4"));
        assert_eq!(setting.committed(), Some(7));
    });
}

#[test]
fn a_letter_fits_the_topics_own_limit() {
    each_delivery(&[], &[("max.message.bytes", "500000")], |setting| {
        let mut sink = setting.sink();
        let mut with_giant = setting.transaction(&["a"], 5);
        with_giant.bad.push(setting.dead(None, noise(700_000, 1).into()));
        with_giant.late.push(LateRecord {
            position: setting.position(3),
            row: noise(690_000, 2),
            reason: "late".into(),
        });
        sink.publish(with_giant).unwrap();
        sink.publish(setting.transaction(&["b"], 6)).unwrap();
        setting.assert_forecasts(&["a", "b"]);
        for (topic, bytes) in [(&setting.bad, "700000"), (&setting.late, "690000")] {
            let letters = setting.letters(topic);
            let [letter] = letters.as_slice() else { panic!("{} letters", letters.len()) };
            assert!(letter.payload.as_ref().unwrap().len() > 490_000);
            assert_eq!(letter.header("truncated_from_bytes"), Some(bytes));
        }
        assert_eq!(setting.committed(), Some(6));
    });
}

#[test]
fn a_limit_that_is_lowered_under_the_sink_costs_no_forecast() {
    each_delivery(&[], &[], |setting| {
        let mut sink = setting.sink();
        sink.publish(setting.transaction(&["a"], 1)).unwrap();
        for topic in [&setting.bad, &setting.late] {
            alter(setting.bootstrap, topic, "max.message.bytes", "20000");
        }
        let mut next = setting.transaction(&["b", "c"], 5);
        next.bad.push(setting.dead(Some(b"k".to_vec()), noise(300_000, 1).into()));
        // Each is small enough, and all of them come in one batch.
        let late = |offset: i64| LateRecord {
            position: setting.position(offset),
            row: noise(5_000, offset.unsigned_abs() + 7),
            reason: "late".into(),
        };
        next.late.extend((0..50).map(late));
        sink.publish(next).unwrap();
        sink.publish(setting.transaction(&["d"], 6)).unwrap();
        setting.assert_forecasts(&["a", "b", "c", "d"]);
        assert_eq!(setting.letters(&setting.bad).len(), 1);
        let rows = setting.letters(&setting.late);
        assert_eq!(rows.len(), 50);
        assert!(rows.iter().all(|row| row.payload.as_ref().unwrap().len() == 5_000));
        assert_eq!(setting.committed(), Some(6));
    });
}

#[test]
fn a_topic_that_takes_no_letter_at_all_stops_nothing() {
    each_delivery(&[], &[("max.message.bytes", "100")], |setting| {
        let mut sink = setting.sink();
        for (round, id) in ["a", "b"].iter().enumerate() {
            let mut transaction = setting.transaction(&[id], 5 + round as i64);
            transaction.bad.push(setting.dead(None, noise(2_000, 1).into()));
            sink.publish(transaction).unwrap();
        }
        setting.assert_forecasts(&["a", "b"]);
        assert_eq!(setting.letters(&setting.bad).len(), 0);
        assert_eq!(setting.committed(), Some(6));
    });
}

#[test]
fn a_compacted_topic_takes_letters_of_records_without_a_key() {
    each_delivery(&[], &[("cleanup.policy", "compact")], |setting| {
        let mut sink = setting.sink();
        let mut transaction = setting.transaction(&["a"], 5);
        transaction.bad.push(setting.dead(None, b"no key".to_vec()));
        transaction.bad.push(setting.dead(Some(b"own".to_vec()), b"a key".to_vec()));
        sink.publish(transaction).unwrap();
        setting.assert_forecasts(&["a"]);
        let keys: Vec<_> =
            setting.letters(&setting.bad).into_iter().map(|letter| letter.key.unwrap()).collect();
        let position = format!("{}[0]@4", setting.input);
        assert_eq!(keys, [position.as_bytes(), b"own"]);
        assert_eq!(setting.committed(), Some(5));
    });
}

#[test]
fn forecasts_that_fit_alone_are_not_refused_for_their_batch() {
    each_delivery(&[], &[], |setting| {
        let mut sink = setting.sink();
        alter(setting.bootstrap, &setting.output, "max.message.bytes", "20000");
        let names: Vec<String> = (0..100).map(|index| noise(1_000, 2 * index)).collect();
        let mut expected: Vec<&str> = names.iter().map(String::as_str).collect();
        sink.publish(setting.transaction(&expected, 5)).unwrap();
        expected.sort_unstable();
        let mut found = ids(setting.bootstrap, &setting.output, Isolation::ReadCommitted);
        if setting.delivery == Delivery::AtLeastOnce {
            found.dedup();
        }
        assert_eq!(found, expected);
        assert_eq!(setting.committed(), Some(5));
    });
}

#[test]
fn a_forecast_that_the_topic_does_not_take_names_the_limit_in_few_words() {
    each_delivery(&[("max.message.bytes", "20000")], &[], |setting| {
        let mut sink = setting.sink();
        let mut transaction = setting.transaction(&["a"], 5);
        transaction.forecasts.push(forecast(&noise(30_000, 1)));
        let error = sink.publish(transaction).unwrap_err();
        assert_eq!((error.blame, error.retriable), (Blame::User, false), "{error}");
        let topic = format!("`{}`", setting.output);
        for part in
            [topic.as_str(), "20000", "`max.message.bytes`", "fewer steps, quantiles or samples"]
        {
            assert!(error.message.contains(part), "{part}: {error}");
        }
        assert!(error.message.len() < 600, "{error}");
        assert_eq!(setting.committed(), None);
    });
}

#[test]
fn a_topic_made_for_large_forecasts_gets_them_without_more_settings() {
    each_delivery(&[("max.message.bytes", "4000000")], &[], |setting| {
        let mut sink = setting.sink();
        let id = noise(500_000, 1);
        sink.publish(setting.transaction(&[&id], 5)).unwrap();
        setting.assert_forecasts(&[&id]);
    });
}

/// Where the brokers do not tell a limit, it is found by trying. (The mock tells
/// none, and undoes nothing of a transaction.)
#[test]
fn a_limit_that_is_not_told_is_found_by_halving() {
    for delivery in
        [Delivery::AtLeastOnce, Delivery::ExactlyOnce { transactional_id: "t".to_owned() }]
    {
        let cluster = MockCluster::new(1).unwrap();
        for topic in ["out", "bad"] {
            cluster.create_topic(topic, 1, 1).unwrap();
        }
        let bootstrap = cluster.bootstrap_servers();
        let mut config = KafkaSinkConfig::new(&bootstrap, "out");
        config.delivery = delivery;
        config.bad_topic = Some("bad".to_owned());
        let mut sink = KafkaSink::connect(config, None).unwrap();
        let too_large = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
        cluster.request_errors(RDKafkaApiKey::Produce, &[too_large; 2]);
        let position = RecordPosition { partition: Partition::new("in", 0), offset: Offset(4) };
        let dead = |bytes: usize| BadRecord {
            position: position.clone(),
            key: None,
            payload: Some(noise(bytes, 1).into()),
            error: "no".into(),
        };
        let bad = vec![dead(800_000)];
        sink.publish(Transaction { bad, ..Transaction::default() }).unwrap();
        // What was learned holds for the next.
        let bad = vec![dead(900_000)];
        sink.publish(Transaction { bad, ..transaction(&["a"], "in", &[]) }).unwrap();
        let letters = read_all(&bootstrap, "bad", Isolation::ReadCommitted);
        let sizes: Vec<_> = letters.iter().map(|l| l.payload.as_ref().unwrap().len()).collect();
        assert_eq!(sizes.len(), 2, "{sizes:?}");
        assert!(sizes.iter().all(|size| (190_000..200_000).contains(size)), "{sizes:?}");
        assert_eq!(letters[1].header("truncated_from_bytes"), Some("900000"));
        assert_eq!(ids(&bootstrap, "out", Isolation::ReadCommitted), ["a"]);
    }
}
