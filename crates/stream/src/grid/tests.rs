use chrono_tz::{Africa, America, Europe, Pacific, Tz};

use super::*;

fn time(text: &str) -> EventTime {
    text.parse().expect("a time")
}

/// The starts of the cells from the one of `first` on.
fn starts(grid: TimeGrid, first: &str, count: i64) -> Vec<String> {
    let first = grid.floor(time(first)).expect("in range");
    (0..count).map(|cells| grid.after(first, cells).expect("in range").to_string()).collect()
}

#[test]
fn days_of_a_zone_have_23_24_and_25_hours() {
    let days = TimeGrid::new(Period::Days(1), 0, Europe::Berlin);
    assert_eq!(
        starts(days, "2024-03-30T12:00:00Z", 3),
        ["2024-03-29T23:00:00Z", "2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z"]
    );
    assert_eq!(
        starts(days, "2024-10-26T12:00:00Z", 3),
        ["2024-10-25T22:00:00Z", "2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z"]
    );
    assert_eq!(days.fixed_micros(), None);
    assert_eq!(days.iso8601(), "P1D");
}

#[test]
fn days_of_utc_are_a_fixed_length() {
    let days = TimeGrid::new(Period::Days(1), 6 * 3_600_000_000, Tz::UTC);
    assert_eq!(days.fixed_micros(), Some(DAY_MICROS));
    assert_eq!(starts(days, "2024-03-01T05:59:59Z", 1), ["2024-02-29T06:00:00Z"]);
    assert_eq!(days.iso8601(), "P1D");
}

#[test]
fn a_midnight_that_clocks_skip_is_the_instant_of_the_jump() {
    // Egypt's clocks go from 23:59 on Thursday to 01:00 on Friday, 26 April 2024.
    let days = TimeGrid::new(Period::Days(1), 0, Africa::Cairo);
    assert_eq!(
        starts(days, "2024-04-25T12:00:00Z", 3),
        ["2024-04-24T22:00:00Z", "2024-04-25T22:00:00Z", "2024-04-26T21:00:00Z"]
    );
    // Samoa had no 30 December 2011.
    let days = TimeGrid::new(Period::Days(1), 0, Pacific::Apia);
    let before = days.number(time("2011-12-30T09:59:59Z"));
    let after = days.number(time("2011-12-30T10:00:00Z"));
    assert_eq!(after - before, 2);
}

#[test]
fn months_begin_on_the_day_that_is_said() {
    let first = TimeGrid::new(Period::Months(1), 0, Tz::UTC);
    assert_eq!(
        starts(first, "2023-12-31T23:59:59Z", 3),
        ["2023-12-01T00:00:00Z", "2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z"]
    );
    let last = TimeGrid::new(Period::Months(1), -DAY_MICROS, Tz::UTC);
    assert_eq!(
        starts(last, "2024-01-31T00:00:00Z", 4),
        [
            "2024-01-31T00:00:00Z",
            "2024-02-29T00:00:00Z",
            "2024-03-31T00:00:00Z",
            "2024-04-30T00:00:00Z"
        ]
    );
    let thirtieth = TimeGrid::new(Period::Months(1), 29 * DAY_MICROS, Tz::UTC);
    assert_eq!(
        starts(thirtieth, "2023-01-30T00:00:00Z", 3),
        ["2023-01-30T00:00:00Z", "2023-02-28T00:00:00Z", "2023-03-30T00:00:00Z"]
    );
    let quarters =
        TimeGrid::months(Period::Months(3), 1, MonthDay::FromFirst(1), 0, America::New_York);
    assert_eq!(
        starts(quarters, "2024-02-01T12:00:00Z", 3),
        ["2024-02-01T05:00:00Z", "2024-05-01T04:00:00Z", "2024-08-01T04:00:00Z"]
    );
    assert_eq!((first.iso8601(), quarters.iso8601()), ("P1M".to_owned(), "P3M".to_owned()));
}

#[test]
fn a_weekend_is_the_friday_before_it() {
    let days = TimeGrid::new(Period::BusinessDays, 0, Tz::UTC);
    // 2024-03-01 was a Friday.
    assert_eq!(
        starts(days, "2024-03-02T10:00:00Z", 3),
        ["2024-03-01T00:00:00Z", "2024-03-04T00:00:00Z", "2024-03-05T00:00:00Z"]
    );
    assert_eq!(days.ceil(time("2024-03-01T00:00:00Z")), time("2024-03-04T00:00:00Z"));
}

#[test]
fn a_number_does_not_depend_on_the_offset_of_a_fixed_length() {
    let at = time("2024-03-01T06:30:00Z");
    let hours = |offset| TimeGrid::new(Period::Fixed(3_600_000_000), offset, Tz::UTC);
    assert_eq!(hours(0).number(at), hours(1_800_000_000).number(at));
    assert_eq!(hours(1_800_000_000).floor(at), Some(at));
}

#[test]
fn cells_touch_and_are_numbered_in_order() {
    let grids = [
        TimeGrid::new(Period::Fixed(3_600_000_000), 0, Tz::UTC),
        TimeGrid::new(Period::Days(1), 6 * 3_600_000_000, Europe::Berlin),
        TimeGrid::new(Period::Days(7), 4 * DAY_MICROS, Pacific::Apia),
        TimeGrid::new(Period::BusinessDays, 0, America::New_York),
        TimeGrid::new(Period::Months(1), 30 * DAY_MICROS, Europe::Berlin),
        TimeGrid::new(Period::Months(12), -3 * DAY_MICROS, Tz::UTC),
    ];
    for grid in grids {
        let mut cell = grid.floor(time("1891-12-25T01:02:03Z")).expect("in range");
        for _ in 0..3_000 {
            let end = grid.ceil(cell);
            assert!(end > cell, "{grid}: {cell}");
            assert_eq!(grid.floor(end), Some(end), "{grid}");
            assert_eq!(grid.floor(end.plus_micros(-1)), Some(cell), "{grid}");
            assert_eq!(grid.number(end.plus_micros(-1)), grid.number(cell), "{grid}");
            assert!(grid.number(end) > grid.number(cell), "{grid}");
            cell = end;
        }
    }
}

#[test]
fn what_cannot_be_said_in_64_bits_is_none() {
    for period in [Period::Fixed(DAY_MICROS), Period::Months(1), Period::BusinessDays] {
        let grid = TimeGrid::new(period, 0, Europe::Berlin);
        assert_eq!(grid.floor(EventTime::from_micros(i64::MAX)), None, "{period}");
        assert_eq!(grid.floor(EventTime::MIN), None, "{period}");
    }
}

#[test]
fn periods_are_read_as_people_and_iso_8601_write_them() {
    for (text, iso, shown) in [
        ("15min", "PT15M", "15m"),
        ("1h 30m", "PT1H30M", "1h 30m"),
        ("0.5 s", "PT0.5S", "500ms"),
        ("1d", "P1D", "1 day"),
        ("24h", "P1D", "1d"),
        ("1week", "P1W", "1 week"),
        ("1month", "P1M", "1 month"),
        ("1 quarter", "P3M", "1 quarter"),
        ("2 years", "P2Y", "2 years"),
        ("1 business day", "P1D", "1 business day"),
        ("P1M", "P1M", "1 month"),
        ("PT90S", "PT1M30S", "1m 30s"),
        ("P1DT12H", "P1DT12H", "1d 12h"),
    ] {
        let period: Period = text.parse().expect(text);
        assert_eq!((period.iso8601(), period.to_string()), (iso.to_owned(), shown.to_owned()));
    }
    for text in ["", "1", "h", "0s", "-1h", "1month 3d", "1.5 months", "P", "PT1D", "1 fortnight"] {
        assert!(text.parse::<Period>().is_err(), "{text}");
    }
}
