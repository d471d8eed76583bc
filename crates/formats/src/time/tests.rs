use proptest::prelude::*;

use super::*;

fn at(text: &str) -> EventTime {
    let instant = chrono::DateTime::parse_from_rfc3339(text).unwrap();
    EventTime::from_micros(instant.timestamp_micros())
}

#[test]
fn one_instant_written_in_many_ways() {
    let cases: &[(&str, &[&str])] = &[
        (
            "2024-08-01T10:00:00Z",
            &[
                "2024-08-01T10:00:00",
                "2024-08-01T10:00Z",
                "2024-08-01t10:00:00z",
                " 2024-08-01 10:00 ",
                "2024-08-01  10:00:00",
                "2024-08-01T10",
                "2024-08-01 10Z",
                "2024/08/01 10:00",
                "2024/8/1 10:00:00",
                "2024-8-1 10:00",
                "2024.08.01 10:00",
                "2024-08-01T12:00:00+02:00",
                "2024-08-01T12+02",
                "2024-08-01 12:00+0200",
                "2024-08-01 12:00:00 +0200",
                "2024-08-01 12:00:00 +0200 CEST",
                "2024-08-01 05:30-04:30",
                "2024-08-01T12:00:00+02:00[Europe/Berlin]",
                "2024-08-01 10:00:00 UTC",
                "2024-08-01 10:00:00 GMT",
                "2024-08-01 10:00:00UTC",
                "20240801T100000Z",
                "20240801T1000",
                "20240801 10:00:00",
                "2024-08-01 10:00:00 AM",
                "2024-08-01 10:00:00.000",
                "2024-08-01 10:00:00,000",
                "2024-W31-4T10:00:00Z",
                "1722506400",
                "1722506400.0",
                "1722506400,0",
                "1.7225064e9",
                "1722506400000",
                "1722506400000.0",
                "1722506400000000",
                "1722506400000000000",
                "+1722506400",
            ],
        ),
        (
            "2024-08-02T00:00:00Z",
            &[
                "2024-08-01 24:00",
                "2024-08-01T24:00:00Z",
                "2024-08-01 24:00:00.000",
                "2024-08-01T24",
                "2024-08-02T02:00+02:00",
                "2024-08-01 23:59:60",
                "2024-08-02",
                "2024/08/02",
                "2024-08-02Z",
                "2024-08-02 12:00 AM",
            ],
        ),
        ("2025-01-01T00:00:00Z", &["2024-12-31 24:00", "2025-01", "2025-Q1", "2025q1", "2025/01"]),
        ("2024-07-01T00:00:00Z", &["2024Q3", "2024-Q3", "2024-07", "2024-W27", "2024W271"]),
        (
            "2024-08-01T00:00:00.250Z",
            &["2024-08-01 00:00:00.25", "2024-08-01 00:00:00,25", "1722470400.25", "1722470400,25"],
        ),
        // Below a microsecond digits round down, before 1970 as well.
        (
            "2024-08-01T00:00:00.123456Z",
            &["2024-08-01T00:00:00.123456999Z", "1722470400.123456999"],
        ),
        ("1938-04-24T22:13:19.999999Z", &["-1000000000000000001", "-1000000000.0000001"]),
        ("2999-12-31T00:00:00Z", &["2999-12-31"]),
        ("9999-12-31T23:59:59Z", &["9999-12-31 23:59:59"]),
    ];
    for (instant, texts) in cases {
        for text in *texts {
            assert_eq!(TimeRule::default().parse(text), Ok(at(instant)), "{text}");
        }
    }
}

#[test]
fn what_names_no_instant_is_refused_with_its_reason() {
    for (text, reason) in [
        ("", "no time is written"),
        ("2024", "too small a number"),
        ("20240801", "too small a number"),
        ("202408", "say the unit: `'timestamp.unit' = 's'`"),
        ("0", "too small"),
        ("7.5", "too small"),
        ("10000000000", "would be milliseconds since 1970 by its size"),
        ("20240801100000", "within a year"),
        ("1e30", "outside the years"),
        ("01/08/2024 10:00", "day or the month in front"),
        ("1.8.2024", "day or the month in front"),
        ("8-1-24", "day or the month in front"),
        ("10:00", "time of day without a date"),
        ("2024-13-01", "no calendar has"),
        ("2023-02-29", "no calendar has"),
        ("2024-08-01 24:01", "no day has"),
        ("2024-08-01 24:00:00.5", "no day has"),
        ("2024-08-01 25:00", "no day has"),
        ("2024-08-01 10:60", "no day has"),
        ("2024-08-01 13:00 PM", "no day has"),
        ("2024-08-01 10:00+25:00", "no day has"),
        ("2024-Q5", "no calendar has"),
        ("2024-W54", "no calendar has"),
        ("2024-08-01 10:00 x", "is no time"),
        ("2024-08-01-05", "is no time"),
        ("1,722,470,400", "is no time"),
        ("1_722_470_400", "is no time"),
        ("yesterday", "`yesterday` is no time"),
        ("NaN", "is no time"),
        ("12e", "is no time"),
        ("x\u{0}y", "`x\\u{0}y`"),
    ] {
        let problem = TimeRule::default().parse(text).unwrap_err().to_string();
        assert!(problem.contains(reason), "{text}: {problem}");
    }
    assert!(TimeRule::default().of_float(f64::NAN).is_err());
    assert!(TimeRule::default().of_float(f64::INFINITY).is_err());
}

/// The unit of a whole number and that of the same number with a point agree.
#[test]
fn sizes_are_judged_alike_with_and_without_a_point() {
    for end in [9_223_372_036_i64, 9_223_372_036_000, 9_223_372_036_000_000] {
        for number in [end - 1, end, end + 1, -end, 100_000_000, 40_000_000_000] {
            let rule = TimeRule::default();
            let whole = rule.of_number(number).map_err(|problem| problem.reason);
            let pointed = rule.parse(&format!("{number}.0")).map_err(|problem| problem.reason);
            assert_eq!(whole, pointed, "{number}");
        }
    }
}

#[test]
fn a_unit_that_was_said_goes_for_every_number() {
    let rule = TimeRule::in_unit(EpochUnit::Milliseconds);
    for (text, instant) in [
        ("0", "1970-01-01T00:00:00Z"),
        ("-1", "1969-12-31T23:59:59.999Z"),
        ("1722506400", "1970-01-20T22:28:26.400Z"),
        ("1722506400000.5", "2024-08-01T10:00:00.000500Z"),
        ("253402300799000", "9999-12-31T23:59:59Z"),
        ("2024-08-01", "2024-08-01T00:00:00Z"),
    ] {
        assert_eq!(rule.parse(text), Ok(at(instant)), "{text}");
    }
    let far = TimeRule::in_unit(EpochUnit::Seconds).of_number(i64::MAX).unwrap_err();
    assert!(far.to_string().contains("in seconds since 1970 lies outside"), "{far}");
}

#[test]
fn a_column_of_milliseconds_stays_one_however_far_back_it_starts() {
    let days = |from: i64, count: i64| (from..from + count).map(|day| day * 86_400_000);
    for (from, count) in [(0, 1_600), (1, 1_600), (880, 700), (-3_000, 4_000), (0, 400)] {
        let rule = TimeRule::infer_integers(days(from, count));
        assert_eq!(rule, TimeRule::in_unit(EpochUnit::Milliseconds), "{from} {count}");
        assert_eq!(rule, TimeRule::infer_floats(days(from, count).map(|number| number as f64)));
    }
    // One placeholder of the year 9999 does not make seconds milliseconds.
    let rule = TimeRule::infer_integers([1_722_470_400, 1_722_474_000, 253_402_300_799]);
    assert_eq!(rule, TimeRule::in_unit(EpochUnit::Seconds));
    assert_eq!(TimeRule::infer(["2024-08-01"]), TimeRule::default());
    assert_eq!(
        TimeRule::infer(["1722470400.25", "1722474000,5", ""]).unit,
        Some(EpochUnit::Seconds)
    );
}

#[test]
fn digits_are_dates_where_the_whole_column_is() {
    for (sample, compact, first) in [
        (["20240801", "20240831"], CompactDates::Day, "2024-08-01T00:00:00Z"),
        (["202408", "202412"], CompactDates::Month, "2024-08-01T00:00:00Z"),
        (["1999", "2024"], CompactDates::Year, "1999-01-01T00:00:00Z"),
        (["1999.0", "2024.0"], CompactDates::Year, "1999-01-01T00:00:00Z"),
        (["2024080123", "2024080124"], CompactDates::Hour, "2024-08-01T23:00:00Z"),
        (["202408010130", "202408012359"], CompactDates::Minute, "2024-08-01T01:30:00Z"),
        (["20240801013005", "20240801235959"], CompactDates::Second, "2024-08-01T01:30:05Z"),
    ] {
        let rule = TimeRule::infer(sample);
        assert_eq!(rule.compact, Some(compact), "{sample:?}");
        assert_eq!(rule.parse(sample[0]), Ok(at(first)), "{sample:?}");
    }
    let rule = TimeRule::infer_integers([20_240_801, 20_240_802]);
    assert_eq!(rule.of_number(20_240_801), Ok(at("2024-08-01T00:00:00Z")));
    let problem = rule.of_number(20_240_899).unwrap_err().to_string();
    assert_eq!(problem, "`20240899` is no date written YYYYMMDD, as the column's others are");
    for sample in [["20240801", "20240832"], ["1999", "2500"], ["20240801", "yesterday"]] {
        assert_eq!(TimeRule::infer(sample).compact, None, "{sample:?}");
    }
}

#[test]
fn a_column_of_absurd_times_is_told_with_its_likely_unit() {
    let seconds = TimeRule::in_unit(EpochUnit::Seconds);
    for (rule, smallest, largest, expected) in [
        (seconds, 0.0, 71.0, "are times of 1970 when read as seconds since 1970; expected times"),
        (seconds, 19_936.0, 20_000.0, "in days the first is 2024-08-01T00:00:00Z: write them"),
        (seconds, 1.7224704e12, 1.7324704e12, "say so with `'timestamp.unit' = 'ms'`"),
        (
            TimeRule::in_unit(EpochUnit::Microseconds),
            1.7224704e12,
            1.7324704e12,
            "in milliseconds the first is 2024-08-01T00:00:00Z",
        ),
    ] {
        let absurd = rule.absurd(smallest, largest).unwrap().to_string();
        assert!(absurd.contains(expected), "{absurd}");
    }
    assert_eq!(seconds.absurd(-6.6e8, -2.8e8), None, "1949 to 1960 is no absurd time");
    assert_eq!(seconds.absurd(0.0, 1.7e9), None);
    assert_eq!(TimeRule::infer(["20240801"]).absurd(20_240_801.0, 20_240_801.0), None);
}

proptest! {
    /// However an instant is written, it is read as itself.
    #[test]
    fn written_instants_are_read_back(micros in -60_000_000_000_000_000_i64..200_000_000_000_000_000) {
        let instant = chrono::DateTime::from_timestamp_micros(micros).unwrap();
        let expected = Ok(EventTime::from_micros(micros));
        let rule = TimeRule::in_unit(EpochUnit::Seconds);
        for format in ["%Y-%m-%dT%H:%M:%S%.6fZ", "%Y-%m-%d %H:%M:%S%.f", "%Y/%m/%d %H:%M:%S,%6f",
            "%Y%m%dT%H%M%S%.6f", "%G-W%V-%u %H:%M:%S%.6f+00:00"] {
            let text = instant.format(format).to_string();
            prop_assert_eq!(rule.parse(&text), expected.clone(), "{}", text);
        }
        let sign = if micros < 0 { "-" } else { "" };
        let size = micros.unsigned_abs();
        let decimal = format!("{sign}{}.{:06}", size / 1_000_000, size % 1_000_000);
        prop_assert_eq!(&TimeRule::in_unit(EpochUnit::Microseconds).of_number(micros), &expected);
        prop_assert_eq!(&rule.parse(&decimal), &expected, "{}", decimal);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[0-9TtZzWwQq:.,+ \\[\\]/eE-]{0,24}|.{0,12}") {
        for unit in [None, Some(EpochUnit::Nanoseconds)] {
            let rule = TimeRule { unit, compact: None };
            drop(rule.parse(&text).map_err(|problem| problem.to_string()));
            let column = TimeRule::infer([text.as_str()]);
            drop(column.parse(&text).map_err(|problem| problem.to_string()));
        }
    }
}
