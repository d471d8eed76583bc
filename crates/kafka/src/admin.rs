//! Asking brokers what topics take.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, OwnedResourceSpecifier, ResourceSpecifier,
};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;

use crate::client;

/// The brokers told nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[error("asking for the limits of topics: {0}")]
pub(crate) struct NothingTold(String);

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
) -> Result<Vec<(String, usize)>, NothingTold> {
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
    let told = answered.recv().map_err(|error| NothingTold(error.to_string()))?;
    let told = told.map_err(|error| NothingTold(error.to_string()))?;
    let limit = |resource: ConfigResource| {
        let bytes = resource.get("max.message.bytes")?.value.as_deref()?.parse().ok()?;
        match resource.specifier {
            OwnedResourceSpecifier::Topic(topic) => Some((topic, bytes)),
            _ => None,
        }
    };
    let limits: Vec<_> = told.into_iter().filter_map(|topic| limit(topic.ok()?)).collect();
    match limits.is_empty() {
        true => {
            let reason = "nothing is told, which may need the right `DescribeConfigs`";
            Err(NothingTold(reason.to_owned()))
        }
        false => Ok(limits),
    }
}

/// Waits for `future` on this thread; rdkafka completes it from its own.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
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
