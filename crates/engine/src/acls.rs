//! What a pipeline needs to be allowed to do on its Kafka clusters.

use std::fmt;

use tidecast_sql::{Delivery, PipelinePlan, SinkConnector, SourceConnector};

use crate::config::EngineConfig;
use crate::connect::{bootstrap, transactional_id_prefix};

/// One rule: operations on a resource, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    /// What is accessed.
    pub resource: AclResource,
    /// Kafka's names of what is done with it. `Read` and `Write` imply `Describe`.
    pub operations: &'static [&'static str],
    /// What it is for, in a few words.
    pub purpose: &'static str,
    /// Whether the pipeline runs without it.
    pub is_optional: bool,
}

/// What a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AclResource {
    /// A topic by its name.
    Topic(String),
    /// A consumer group by its name.
    Group(String),
    /// All transactional ids that begin like this: each instance has its own.
    TransactionalIds(String),
    /// The cluster.
    Cluster,
}

/// The rules on one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterAcls {
    /// Its brokers.
    pub bootstrap_servers: String,
    /// What is needed there.
    pub rules: Vec<Acl>,
}

/// Returns what `plan` needs, by cluster; nothing where it has no Kafka.
pub fn acls(plan: &PipelinePlan, config: &EngineConfig) -> Vec<ClusterAcls> {
    let mut clusters: Vec<ClusterAcls> = Vec::new();
    let mut add = |servers: String, rules: Vec<Acl>| match clusters
        .iter_mut()
        .find(|cluster| cluster.bootstrap_servers == servers)
    {
        Some(cluster) => cluster.rules.extend(rules),
        None => clusters.push(ClusterAcls { bootstrap_servers: servers, rules }),
    };
    let mut letters = Vec::new();
    if let SourceConnector::Kafka(options) = &plan.source.connector {
        let rules = vec![
            Acl::read(AclResource::Topic(options.topic.clone()), "the records"),
            Acl::read(AclResource::Group(config.group_id(plan)), "the partitions and offsets"),
        ];
        add(bootstrap(options.bootstrap_servers.as_ref(), config), rules);
        letters.extend(options.late_topic.clone().map(|topic| (topic, "late rows")));
        letters.extend(options.bad_topic.clone().map(|topic| (topic, "records that are unusable")));
    }
    if let SinkConnector::Kafka(options) = &plan.sink.connector {
        let topics = [(options.topic.clone(), "the forecasts")].into_iter().chain(letters);
        let topics: Vec<_> =
            topics.map(|(topic, purpose)| (AclResource::Topic(topic), purpose)).collect();
        let mut rules: Vec<Acl> =
            topics.iter().map(|(topic, purpose)| Acl::write(topic.clone(), purpose)).collect();
        match options.delivery {
            Delivery::ExactlyOnce => {
                let ids = AclResource::TransactionalIds(transactional_id_prefix(plan));
                rules.push(Acl::write(ids, "transactions of all instances"));
            }
            Delivery::AtLeastOnce => rules.push(Acl {
                resource: AclResource::Cluster,
                operations: &["IdempotentWrite"],
                purpose: "only of brokers before Kafka 2.8",
                is_optional: true,
            }),
        }
        rules.extend(topics.into_iter().map(|(resource, _)| Acl {
            resource,
            operations: &["DescribeConfigs"],
            purpose: "how large a message may be, which is found out by trying otherwise",
            is_optional: true,
        }));
        add(bootstrap(options.bootstrap_servers.as_ref(), config), rules);
    }
    clusters
}

impl Acl {
    fn read(resource: AclResource, purpose: &'static str) -> Self {
        Self { resource, operations: &["Read", "Describe"], purpose, is_optional: false }
    }

    fn write(resource: AclResource, purpose: &'static str) -> Self {
        Self { resource, operations: &["Write", "Describe"], purpose, is_optional: false }
    }
}

impl ClusterAcls {
    /// Returns a call of Kafka's `kafka-acls.sh` for each rule, in lines for a shell that
    /// give them to `principal` (`User:name`); what is optional is commented out.
    pub fn commands<'a>(&'a self, principal: &'a str) -> impl Iterator<Item = String> + 'a {
        self.rules.iter().map(move |rule| {
            let operations: String =
                rule.operations.iter().map(|name| format!(" --operation {name}")).collect();
            let (comment, remark) = match rule.is_optional {
                true => ("# ", format!("optional: {}", rule.purpose)),
                false => ("", rule.purpose.to_owned()),
            };
            format!(
                "# {remark}\n{comment}kafka-acls.sh --bootstrap-server {} --add --allow-principal \
                 {}{operations} {}",
                quoted(&self.bootstrap_servers),
                quoted(principal),
                rule.resource
            )
        })
    }
}

impl fmt::Display for AclResource {
    /// As arguments of `kafka-acls.sh`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "--topic {}", quoted(name)),
            Self::Group(name) => write!(f, "--group {}", quoted(name)),
            Self::TransactionalIds(prefix) => {
                write!(f, "--transactional-id {} --resource-pattern-type prefixed", quoted(prefix))
            }
            Self::Cluster => f.write_str("--cluster"),
        }
    }
}

/// Returns `word` as a shell takes it for one.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use tidecast_sql::parse_scripts;

    use super::*;
    use crate::MODELS;

    fn commands(script: &str) -> Vec<String> {
        let plans = parse_scripts(&[("p.sql".to_owned(), script.to_owned())], &MODELS).unwrap();
        let clusters = acls(&plans[0], &EngineConfig::default());
        clusters.iter().flat_map(|it| it.commands("User:CN=o'hara").collect::<Vec<_>>()).collect()
    }

    fn script(source: &str, sink: &str) -> String {
        format!(
            "CREATE TABLE s (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ({source});
             CREATE TABLE f WITH ({sink});
             CREATE MODEL m WITH ('provider'='seasonal-naive', 'season'='2');
             CREATE VIEW v AS SELECT window_end AS t, max(kw) AS kw
             FROM TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_end;
             CREATE PIPELINE p AS INSERT INTO f SELECT * FROM
             forecast(TABLE v, model => 'm', time => 't', target => 'kw', horizon => 3);"
        )
    }

    #[test]
    fn at_least_once_needs_no_transactional_id() {
        let commands = commands(&script(
            "'connector'='kafka', 'topic'='in', 'bad.topic'='bad', 'group.id'='g'",
            "'connector'='kafka', 'topic'='out', 'delivery'='at-least-once'",
        ));
        let call = r"kafka-acls.sh --bootstrap-server 'localhost:9092' --add --allow-principal 'User:CN=o'\''hara'";
        let config =
            "# optional: how large a message may be, which is found out by trying otherwise\n#";
        let expected = [
            format!("# the records\n{call} --operation Read --operation Describe --topic 'in'"),
            format!(
                "# the partitions and offsets\n{call} --operation Read --operation Describe --group 'g'"
            ),
            format!("# the forecasts\n{call} --operation Write --operation Describe --topic 'out'"),
            format!(
                "# records that are unusable\n{call} --operation Write --operation Describe --topic 'bad'"
            ),
            format!(
                "# optional: only of brokers before Kafka 2.8\n# {call} --operation IdempotentWrite --cluster"
            ),
            format!("{config} {call} --operation DescribeConfigs --topic 'out'"),
            format!("{config} {call} --operation DescribeConfigs --topic 'bad'"),
        ];
        assert_eq!(commands, expected);
    }

    #[test]
    fn two_clusters_are_kept_apart_and_files_need_nothing() {
        let kafka = "'connector'='kafka', 'topic'='t', 'bootstrap.servers'='b:9092'";
        let file = "'connector'='filesystem', 'path'='x.jsonl'";
        let to_file = "'connector'='filesystem', 'path'='y.jsonl'";
        assert_eq!(commands(&script(file, to_file)), Vec::<String>::new());
        let reading = commands(&script(kafka, file));
        assert_eq!(reading.len(), 2, "{reading:?}");
        assert!(reading.iter().all(|line| line.contains("'b:9092'")), "{reading:?}");
        let plans = script(kafka, "'connector'='kafka', 'topic'='o', 'delivery'='at-least-once'");
        let text = commands(&plans).join("\n");
        assert!(text.contains("'b:9092'") && text.contains("'localhost:9092'"), "{text}");
    }
}
