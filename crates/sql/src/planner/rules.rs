//! Which options tables have.

use std::borrow::Cow;

use super::options::OptionRules;

pub(super) const KAFKA_SOURCE: OptionRules<'_> = OptionRules {
    owner: "a kafka source table",
    known: &[
        "connector",
        "topic",
        "format",
        "csv.field-delimiter",
        "csv.quote-character",
        "avro.schema",
        "protobuf.schema",
        "protobuf.message",
        "apicurio.registry.use-id",
        "schema.registry.url",
        "schema.registry.basic.auth.user.info",
        "schema.registry.basic.auth.user.info.file",
        "schema.registry.bearer.auth.token",
        "schema.registry.bearer.auth.token.file",
        "schema.registry.ssl.ca.location",
        "timestamp.unit",
        "bootstrap.servers",
        "group.id",
        "scan.startup.mode",
        "scan.startup.timestamp",
        "scan.startup.timestamp-millis",
        "lost.records",
        "tombstones",
        "idle.timeout",
        "max.future",
        "max.past",
        "late.topic",
        "bad.topic",
    ],
    unsupported: &["value.format", "key.format", "scan.bounded.mode"],
    elsewhere: &elsewhere,
    prefixes: &["properties.", "fields."],
};

pub(super) const FILE_SOURCE: OptionRules<'_> = OptionRules {
    owner: "a filesystem source table",
    known: &["connector", "path", "format", "timestamp.unit"],
    unsupported: &["source.monitor-interval"],
    elsewhere: &elsewhere,
    prefixes: &["fields."],
};

pub(super) const KAFKA_SINK: OptionRules<'_> = OptionRules {
    owner: "a kafka sink table",
    known: &[
        "connector",
        "topic",
        "format",
        "layout",
        "schema.registry.url",
        "schema.registry.auto.register.schemas",
        "schema.registry.basic.auth.user.info",
        "schema.registry.basic.auth.user.info.file",
        "schema.registry.bearer.auth.token",
        "schema.registry.bearer.auth.token.file",
        "schema.registry.ssl.ca.location",
        "delivery",
        "bootstrap.servers",
    ],
    unsupported: &["value.format", "key.format"],
    elsewhere: &elsewhere,
    prefixes: &["properties."],
};

pub(super) const FILE_SINK: OptionRules<'_> = OptionRules {
    owner: "a filesystem sink table",
    known: &["connector", "path", "format", "layout"],
    unsupported: &["partition.by"],
    elsewhere: &elsewhere,
    prefixes: &[],
};

pub(super) const STDOUT_SINK: OptionRules<'_> = OptionRules {
    owner: "a stdout sink table",
    known: &["connector", "format", "layout"],
    unsupported: &[],
    elsewhere: &elsewhere,
    prefixes: &[],
};

/// Returns the kind of table that has this option.
fn elsewhere(name: &str) -> Option<Cow<'static, str>> {
    // Named apart from the rules, which refer to this function.
    let whose = match name {
        "topic" | "bootstrap.servers" => Some("kafka tables"),
        "path" => Some("filesystem tables"),
        "delivery" | "schema.registry.auto.register.schemas" => {
            Some("kafka sink tables, which have no columns")
        }
        "timestamp.unit" => Some("source tables, which have columns"),
        "layout" => Some("sink tables, which have no columns"),
        "group.id"
        | "scan.startup.mode"
        | "scan.startup.timestamp"
        | "scan.startup.timestamp-millis"
        | "lost.records"
        | "tombstones"
        | "csv.field-delimiter"
        | "csv.quote-character"
        | "avro.schema"
        | "protobuf.schema"
        | "protobuf.message"
        | "apicurio.registry.use-id"
        | "idle.timeout"
        | "max.future"
        | "max.past"
        | "late.topic"
        | "bad.topic" => Some("kafka source tables, which have columns"),
        _ => None,
    };
    whose.map(Cow::Borrowed)
}
