//! A broker inside the process, for demonstrations.

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer};

use super::KafkaToolError;
use crate::native;

/// librdkafka's mock cluster: one broker on a free port of the loopback, which
/// any Kafka client of this machine can use. It ends when this value is dropped.
///
/// It is no Kafka. It keeps the newest 5 MiB of each partition and drops the
/// rest; its transactions are shape only (nothing is rolled back, offsets sent
/// with them are not stored), so run it at least once.
pub struct MockBroker {
    /// The mock cluster lives in, and as long as, a client.
    client: BaseProducer,
    bootstrap: String,
}

impl std::fmt::Debug for MockBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MockBroker").field("bootstrap", &self.bootstrap).finish_non_exhaustive()
    }
}

impl MockBroker {
    /// Starts a broker with these topics, each with its number of partitions.
    ///
    /// # Errors
    /// If librdkafka cannot start it.
    pub fn start(topics: &[(&str, i32)]) -> Result<Self, KafkaToolError> {
        let failed =
            |reason: String| KafkaToolError::new(format!("starting the mock broker: {reason}"));
        let mut config = ClientConfig::new();
        config.set("test.mock.num.brokers", "1");
        let client: BaseProducer = config.create().map_err(|error| failed(error.to_string()))?;
        let bootstrap = cluster(&client)
            .map(|cluster| cluster.bootstrap_servers())
            .ok_or_else(|| failed("there is none in the client".to_owned()))?;
        // A group waits three seconds for its first members otherwise.
        native::join_mock_groups_at_once(client.client());
        let broker = Self { client, bootstrap };
        topics
            .iter()
            .try_for_each(|(topic, partitions)| broker.create_topic(topic, *partitions))?;
        Ok(broker)
    }

    /// Returns its `bootstrap.servers`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Creates a topic. (The mock does not know the admin request for it.)
    ///
    /// # Errors
    /// If there is one of that name.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), KafkaToolError> {
        let failed =
            |reason: String| KafkaToolError::new(format!("creating topic `{topic}`: {reason}"));
        let cluster = self.cluster().ok_or_else(|| failed("the mock broker is gone".to_owned()))?;
        cluster.create_topic(topic, partitions, 1).map_err(|error| failed(error.to_string()))
    }

    /// Returns librdkafka's handle, with which tests inject faults.
    fn cluster(&self) -> Option<MockCluster<'_, DefaultProducerContext>> {
        cluster(&self.client)
    }
}

fn cluster(client: &BaseProducer) -> Option<MockCluster<'_, DefaultProducerContext>> {
    client.client().mock_cluster()
}
