//! Where reading begins.

use sqlparser::tokenizer::Span;
use tidecast_stream::EventTime;

use super::options::OptionReader;
use crate::error::Problem;
use crate::spec::StartupMode;

/// Returns where reading begins without a committed offset, if that is said.
pub(super) fn startup(
    reader: &OptionReader<'_>,
    problems: &mut Vec<Problem>,
) -> Option<StartupMode> {
    const TIMES: [&str; 2] = ["scan.startup.timestamp", "scan.startup.timestamp-millis"];
    let epoch = StartupMode::Timestamp(EventTime::from_micros(0));
    let choices = [
        ("earliest-offset", StartupMode::Earliest),
        ("latest-offset", StartupMode::Latest),
        ("timestamp", epoch),
        ("group-offsets", StartupMode::GroupOffsets),
        ("warm", StartupMode::Warm),
    ];
    let mode = reader.choice("scan.startup.mode", &choices, &["specific-offsets"], problems);
    let said: Vec<&str> = TIMES.into_iter().filter(|name| reader.text(name).is_some()).collect();
    let place = |name| reader.span(name).unwrap_or_else(Span::empty);
    match (mode, said.as_slice()) {
        (Some(StartupMode::Timestamp(_)), [name]) => {
            let text = reader.text(name).map_or("", |text| text.value.trim());
            let time = match *name {
                "scan.startup.timestamp" => text.parse().ok(),
                _ => text.parse().ok().map(EventTime::from_millis),
            };
            if time.is_none() {
                let example = match *name {
                    "scan.startup.timestamp" => "a time such as 2026-11-01T00:00:00Z",
                    _ => "milliseconds since 1970",
                };
                let message = format!("option `{name}` is `{text}`, expected {example}");
                problems.push(Problem::new(place(name), message));
            }
            time.map(StartupMode::Timestamp)
        }
        (Some(StartupMode::Timestamp(_)), []) => {
            problems.push(Problem::new(
                place("scan.startup.mode"),
                "'scan.startup.mode'='timestamp' needs a time, expected for instance \
                 'scan.startup.timestamp'='2026-11-01T00:00:00Z'",
            ));
            None
        }
        (Some(StartupMode::Timestamp(_)), [_, second, ..]) => {
            let message = format!("option `{second}` says again what `{}` says", TIMES[0]);
            problems.push(Problem::new(place(second), message));
            None
        }
        (mode, [name, ..]) => {
            let message = format!(
                "option `{name}` is for 'scan.startup.mode'='timestamp', expected that mode or no \
                 such option"
            );
            problems.push(Problem::new(place(name), message));
            mode
        }
        (mode, []) => mode,
    }
}
