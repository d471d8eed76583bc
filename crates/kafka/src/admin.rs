//! Creating and deleting topics, for demonstrations, measurements and tests, and
//! asking what they take.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::RDKafkaErrorCode;

use crate::client;
use crate::error::{KafkaToolError, Verdict};

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

/// Passes an administrator's lines to where all others' go.
struct Logged;

impl ClientContext for Logged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        client::log(level, facility, line);
    }
}

/// Asks for the `max.message.bytes` of topics, with the connection that `settings`
/// of a producer describe. Topics about which nothing is told are left out.
///
/// # Errors
/// If nothing is told at all.
pub(crate) fn max_message_bytes(
    settings: &ClientConfig,
    topics: &[&str],
    timeout: Duration,
) -> Result<Vec<(String, usize)>, KafkaToolError> {
    let mut settings = settings.clone();
    settings.remove("transactional.id").remove("enable.idempotence");
    let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let (answer, answered) = mpsc::sync_channel(1);
    // On a thread of its own, because closing an administrator takes a tenth of a
    // second, for which nobody has to wait.
    thread::spawn(move || {
        let admin: Result<AdminClient<Logged>, _> = settings.create_with_context(Logged);
        let admin = match admin {
            Ok(admin) => admin,
            Err(error) => return drop(answer.send(Err(error))),
        };
        let asked: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
        let options = AdminOptions::new().request_timeout(Some(timeout));
        let told = wait(admin.describe_configs(&asked, &options));
        drop(answer.send(told));
    });
    let failed =
        |reason: String| KafkaToolError::new(format!("asking for the limits of topics: {reason}"));
    let told = answered.recv().map_err(|error| failed(error.to_string()))?;
    let told = told.map_err(|error| failed(error.to_string()))?;
    let limit = |resource: ConfigResource| {
        let bytes = resource.get("max.message.bytes")?.value.as_deref()?.parse().ok()?;
        match resource.specifier {
            OwnedResourceSpecifier::Topic(topic) => Some((topic, bytes)),
            _ => None,
        }
    };
    let limits: Vec<_> = told.into_iter().filter_map(|topic| limit(topic.ok()?)).collect();
    match limits.is_empty() {
        true => Err(failed("nothing is told, which may need the right `DescribeConfigs`".into())),
        false => Ok(limits),
    }
}

/// Waits for `future` on this thread; rdkafka completes it from its own.
fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
