//! The configuration as written: types, but no meaning yet.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

/// A duration, written as people say it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(transparent)]
pub(super) struct Span(#[serde(with = "humantime_serde")] pub(super) Duration);

/// A librdkafka setting: text, or what TOML can say without quotes.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Plain")]
pub(super) struct Text(pub(super) String);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string, a number or a truth value")]
enum Plain {
    Text(String),
    Integer(i64),
    Number(f64),
    Truth(bool),
}

impl From<Plain> for Text {
    fn from(plain: Plain) -> Self {
        Self(match plain {
            Plain::Text(text) => text,
            Plain::Integer(number) => number.to_string(),
            Plain::Number(number) => number.to_string(),
            Plain::Truth(truth) => truth.to_string(),
        })
    }
}

/// Makes each section twice: whole, which is what all layers together must be,
/// and as one layer, in which anything may be absent.
macro_rules! sections {
    ($($section:ident: $name:ident { $($field:ident: $kind:ty,)* })*) => {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct Written { $(pub(super) $section: $name,)* }
        $(
            #[derive(Debug, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub(super) struct $name { $(pub(super) $field: $kind,)* }
        )*

        /// One layer, only ever read to have its types checked where their
        /// place in the file is still known.
        pub(super) mod layer {
            #![expect(dead_code, reason = "deserialising is the check; nobody reads the fields")]
            use super::*;

            #[derive(Debug, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub(in super::super) struct Layer { $($section: Option<$name>,)* }
            $(
                #[derive(Debug, Deserialize)]
                #[serde(deny_unknown_fields)]
                struct $name { $($field: Option<$kind>,)* }
            )*
        }
    };
}

sections! {
    kafka: Kafka {
        bootstrap_servers: String,
        group_prefix: String,
        properties: BTreeMap<String, Text>,
    }
    pipeline: Pipeline {
        instance: String,
        static_membership: bool,
        commit_interval: Span,
        max_batch_records: usize,
        mailbox_capacity: usize,
        mailbox_mib: usize,
        part_series: usize,
        drain_timeout: Span,
        stall_timeout: Span,
        restart_max: u32,
        restart_window: Span,
        restart_backoff: Span,
        restart_backoff_max: Span,
    }
    model: Model {
        threads: usize,
        max_batch_tokens: usize,
        max_batch_tasks: usize,
        max_wait: Span,
    }
    state: State {
        url: String,
        interval: Span,
    }
    server: Server {
        enabled: bool,
        listen: String,
    }
    log: Log {
        level: String,
        format: String,
    }
}
