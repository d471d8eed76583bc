//! What names of fields tell: the words that times, series and values are called by.

use super::super::columns::Column;

/// Words of times, the likelier first.
pub(super) const TIMES: [&str; 20] = [
    "event_time",
    "eventtime",
    "timestamp",
    "datetime",
    "measured",
    "observed",
    "ts",
    "time",
    "date",
    "epoch",
    "t",
    "dt",
    "when",
    "day",
    "hour",
    "month",
    "utc",
    "created",
    "at",
    "updated",
];

/// Words of series.
pub(super) const SERIES: [&str; 39] = [
    "meter", "sensor", "device", "station", "site", "series", "location", "zone", "region",
    "store", "shop", "sku", "product", "article", "item", "host", "node", "pod", "instance",
    "machine", "asset", "plant", "feeder", "gateway", "symbol", "customer", "account", "metric",
    "channel", "service", "country", "city", "area", "unit", "tag", "cpu", "key", "name", "id",
];

/// Words of values.
pub(super) const TARGETS: [&str; 28] = [
    "value",
    "reading",
    "kwh",
    "kw",
    "mw",
    "power",
    "load",
    "demand",
    "energy",
    "consumption",
    "temperature",
    "temp",
    "sales",
    "quantity",
    "qty",
    "units",
    "amount",
    "price",
    "usage",
    "cpu",
    "requests",
    "latency",
    "count",
    "total",
    "level",
    "flow",
    "pressure",
    "rate",
];

/// Words of values that are added up over a step.
pub(super) const SUMS: [&str; 9] =
    ["sales", "quantity", "qty", "units", "amount", "kwh", "requests", "revenue", "orders"];

/// How well a column's name fits: the place of the word of it that is known, from behind;
/// 0 if none is.
pub(super) fn likeness(column: &Column, known: &[&str]) -> usize {
    let fits = |known: &&str| {
        let plain = column.name.split('_');
        column.words.iter().map(String::as_str).chain(plain).any(|word| word == *known)
            || (known.len() > 3 && column.name.contains(*known))
    };
    known.iter().position(fits).map_or(0, |place| known.len() - place)
}
