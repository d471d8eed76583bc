//! Creating and deleting topics.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;

use super::KafkaToolError;
use crate::admin::wait;
use crate::error::Verdict;

/// Asks for the broker's default (KIP-464, Kafka 2.4).
const BROKERS_CHOICE: i32 = -1;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Creates topics, each with its number of partitions, with as many replicas as the
/// broker's `default.replication.factor` says. Topics that exist are left as they are.
///
/// # Errors
/// If the broker does not answer or refuses.
pub fn create_topics(bootstrap: &str, topics: &[(&str, i32)]) -> Result<(), KafkaToolError> {
    let doing = "creating topics";
    let admin = admin(doing, bootstrap)?;
    let topics: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|(name, partitions)| {
            NewTopic::new(name, *partitions, TopicReplication::Fixed(BROKERS_CHOICE))
        })
        .collect();
    let results = wait(admin.create_topics(&topics, &options()))
        .map_err(|error| Verdict::of(doing, bootstrap, &error))?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                let doing = format!("creating topic `{topic}`");
                return Err(Verdict::of_code(&doing, bootstrap, code).into());
            }
        }
    }
    Ok(())
}

/// Deletes topics; those that are not there do not matter.
///
/// # Errors
/// If the broker does not answer or refuses.
pub fn delete_topics(bootstrap: &str, topics: &[&str]) -> Result<(), KafkaToolError> {
    let doing = "deleting topics";
    let admin = admin(doing, bootstrap)?;
    let results = wait(admin.delete_topics(topics, &options()))
        .map_err(|error| Verdict::of(doing, bootstrap, &error))?;
    for result in results {
        match result {
            Ok(_)
            | Err((
                _,
                RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic,
            )) => {}
            Err((topic, code)) => {
                let doing = format!("deleting topic `{topic}`");
                return Err(Verdict::of_code(&doing, bootstrap, code).into());
            }
        }
    }
    Ok(())
}

fn admin(
    doing: &str,
    bootstrap: &str,
) -> Result<AdminClient<DefaultClientContext>, KafkaToolError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config.create().map_err(|error| Verdict::of(doing, bootstrap, &error).into())
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT))
}
