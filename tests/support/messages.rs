//! The forecast topic as a subscriber reads it.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use jsonschema::Validator;
use serde_json::Value;
use tidecast_kafka::tools::{Isolation, ReadFrom, Record, TopicReader};

use super::command::Ended;
use super::service::Service;
use super::{LIMIT, repository_text};

/// The messages a command printed, one a line, each checked against the
/// published schema.
pub(crate) fn printed(ended: &Ended) -> Vec<Value> {
    let messages: Vec<Value> =
        ended.succeeded().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    messages.iter().for_each(assert_valid);
    messages
}

/// A message, and the record it came in.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) record: Record,
    pub(crate) body: Value,
}

impl Message {
    /// Parses a record and checks it against the published schema.
    pub(crate) fn of(record: Record) -> Self {
        let body = serde_json::from_slice(record.payload.as_deref().unwrap()).unwrap();
        assert_valid(&body);
        Self { record, body }
    }

    pub(crate) fn id(&self) -> &str {
        self.body["forecast_id"].as_str().unwrap()
    }

    pub(crate) fn site(&self) -> &str {
        self.body["series"]["site"].as_str().unwrap()
    }

    pub(crate) fn origin(&self) -> &str {
        self.body["origin"].as_str().unwrap()
    }

    pub(crate) fn status(&self) -> &str {
        self.body["status"].as_str().unwrap()
    }

    pub(crate) fn context_steps(&self) -> i64 {
        self.body["context"]["steps"].as_i64().unwrap()
    }

    pub(crate) fn mean(&self) -> Vec<f64> {
        numbers(&self.body["variates"][0]["mean"])
    }

    pub(crate) fn quantile(&self, level: &str) -> Vec<f64> {
        numbers(&self.body["variates"][0]["quantiles"][level])
    }

    /// What does not depend on when it was made.
    pub(crate) fn content(&self) -> Value {
        let mut content = self.body.clone();
        content.as_object_mut().unwrap().remove("is_backfill");
        content
    }

    /// Series and origin, which name a forecast.
    pub(crate) fn name(&self) -> (String, String) {
        (self.site().to_owned(), self.origin().to_owned())
    }
}

/// Checks a message against `docs/forecast-message.schema.json`.
pub(crate) fn assert_valid(message: &Value) {
    static SCHEMA: OnceLock<Validator> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| {
        let text = repository_text("docs/forecast-message.schema.json");
        jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
    });
    let errors: Vec<String> = schema
        .iter_errors(message)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:?}\n{message:#}");
}

fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

/// Reads a topic of forecasts as they come, while a service makes them.
pub(crate) struct Subscriber {
    reader: TopicReader,
    pub(crate) messages: Vec<Message>,
}

impl Subscriber {
    /// Subscribes as careful readers do, to what is committed only.
    pub(crate) fn new(bootstrap: &str, topic: &str) -> Self {
        let isolation = Isolation::ReadCommitted;
        let reader = TopicReader::open(bootstrap, topic, ReadFrom::Beginning, isolation).unwrap();
        Self { reader, messages: Vec::new() }
    }

    /// Reads until there are `count` different forecasts.
    pub(crate) fn await_distinct(&mut self, count: usize, service: &Service) {
        let deadline = Instant::now() + LIMIT;
        let mut ids: BTreeSet<String> = self.ids().into_iter().collect();
        while ids.len() < count {
            assert!(
                Instant::now() < deadline,
                "{} of {count} forecasts within {LIMIT:?}\n{}",
                ids.len(),
                service.log()
            );
            if let Some(record) = self.reader.next(Duration::from_millis(200)).unwrap() {
                let message = Message::of(record);
                ids.insert(message.id().to_owned());
                self.messages.push(message);
            }
        }
    }

    /// Reads what is there, after the services have ended.
    pub(crate) fn read_to_end(&mut self) {
        let records = self.reader.read_to_end(LIMIT).unwrap();
        self.messages.extend(records.into_iter().map(Message::of));
    }

    /// The ids in the order they were read.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.messages.iter().map(|message| message.id().to_owned()).collect()
    }

    /// How many different forecasts were read so far.
    pub(crate) fn distinct(&self) -> usize {
        self.ids().into_iter().collect::<BTreeSet<_>>().len()
    }

    /// Fails if a forecast is there twice.
    pub(crate) fn assert_no_repeats(&self) {
        let mut seen = BTreeSet::new();
        for message in &self.messages {
            assert!(seen.insert(message.id()), "a second {:?}", message.body);
        }
    }

    /// The forecast of a series from an origin.
    pub(crate) fn find(&self, site: &str, origin: &str) -> &Message {
        let mut found = self
            .messages
            .iter()
            .filter(|message| message.site() == site && message.origin() == origin);
        found.next().unwrap_or_else(|| panic!("no forecast of {site} from {origin}"))
    }
}

/// All records of a topic, in the order of each partition.
pub(crate) fn records(bootstrap: &str, topic: &str) -> Vec<Record> {
    let isolation = Isolation::ReadCommitted;
    let mut reader = TopicReader::open(bootstrap, topic, ReadFrom::Beginning, isolation).unwrap();
    reader.read_to_end(LIMIT).unwrap()
}
