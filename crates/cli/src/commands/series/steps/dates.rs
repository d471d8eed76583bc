//! Steps of days and longer: rows at one time of day in some time zone.

use chrono::{Datelike, NaiveDate};
use tidecast_stream::grid::{Tz, local, zone_names};
use tidecast_stream::{EventTime, MonthDay, Period, TimeGrid, grid};

use super::DAY_MICROS;
use super::distances::{Distance, distance};

/// Zones to be tried first, one for each kind of summer time.
const FIRST: [&str; 16] = [
    "Europe/Berlin",
    "Europe/London",
    "Europe/Helsinki",
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/Halifax",
    "America/St_Johns",
    "America/Anchorage",
    "Australia/Sydney",
    "Australia/Adelaide",
    "Pacific/Auckland",
    "America/Santiago",
    "Asia/Jerusalem",
    "Africa/Cairo",
];

/// Returns the grid of rows that all come at one time of day, in `zone` or, if none was
/// said, in UTC or the zone in which they do; `None` if there is no such zone, or they
/// have no step of whole days.
pub(super) fn date_steps(times: &[EventTime], zone: Option<Tz>) -> Option<TimeGrid> {
    let (zone, dates, time_micros) = match zone {
        Some(zone) => in_zone(times, zone)?,
        None => in_zone(times, Tz::UTC).or_else(|| in_some_zone(times))?,
    };
    let mut dates = dates;
    dates.dedup();
    if dates.len() < 2 {
        return None;
    }
    if let Some((period, phase, day)) = months(&dates) {
        return Some(TimeGrid::months(period, phase, day, time_micros, zone));
    }
    if is_business(&dates) {
        return Some(TimeGrid::new(Period::BusinessDays, time_micros, zone));
    }
    let days: Vec<EventTime> =
        dates.iter().map(|date| EventTime::from_micros(day_number(*date) * DAY_MICROS)).collect();
    let micros = match distance(&days)? {
        Distance::Exact(micros) => micros,
        // Days that come as they like are days.
        Distance::Jittered(_) | Distance::Irregular(_) => DAY_MICROS,
    };
    let count = u32::try_from(micros / DAY_MICROS).ok().filter(|count| *count > 0)?;
    let first = day_number(*dates.last()?);
    let phase = first.rem_euclid(i64::from(count)) * DAY_MICROS;
    Some(TimeGrid::new(Period::Days(count), phase + time_micros, zone))
}

fn day_number(date: NaiveDate) -> i64 {
    i64::from(date.num_days_from_ce()) - 719_163
}

type Dates = (Tz, Vec<NaiveDate>, i64);

/// Returns the dates and the time of day, if that is the same for all.
fn in_zone(times: &[EventTime], zone: Tz) -> Option<Dates> {
    let (_, time_micros) = local(*times.first()?, zone)?;
    let date = |time: &EventTime| {
        let (date, micros) = local(*time, zone)?;
        (micros == time_micros).then_some(date)
    };
    Some((zone, times.iter().map(date).collect::<Option<Vec<_>>>()?, time_micros))
}

/// Looks for a zone in which clocks show one time of day, where UTC's show two or three.
fn in_some_zone(times: &[EventTime]) -> Option<Dates> {
    let mut of_day: Vec<i64> =
        times.iter().map(|time| time.as_micros().rem_euclid(DAY_MICROS)).collect();
    of_day.sort_unstable();
    of_day.dedup();
    if of_day.len() > 4 {
        return None;
    }
    let zones = FIRST.into_iter().chain(zone_names());
    let found = zones.filter_map(grid::zone).find_map(|zone| in_zone(times, zone));
    // Chance would find a zone for any two rows; midnight is no chance.
    found.filter(|(_, dates, micros)| *micros == 0 || dates.len() > 10)
}

/// Returns the months of dates that all lie on one day of a month, or the last one.
fn months(dates: &[NaiveDate]) -> Option<(Period, u32, MonthDay)> {
    let latest = dates.iter().map(NaiveDate::day).max()?;
    let last_of = |date: &NaiveDate| u32::from(date.num_days_in_month());
    let day = if dates.iter().all(|date| date.day() == last_of(date)) {
        MonthDay::FromLast(0)
    } else if dates.iter().all(|date| date.day() == latest.min(last_of(date))) {
        MonthDay::FromFirst(latest)
    } else {
        MonthDay::FromFirst(any_day(dates)?)
    };
    let number = |date: &NaiveDate| i64::from(date.year() - 1970) * 12 + i64::from(date.month0());
    let apart = dates.iter().zip(dates.iter().skip(1)).map(|(a, b)| number(b) - number(a));
    let step = apart.filter(|months| *months > 0).fold(0, greatest_common_divisor);
    let count = u32::try_from(step).ok().filter(|count| *count > 0)?;
    let phase = number(dates.first()?).rem_euclid(step);
    Some((Period::Months(count), u32::try_from(phase).ok()?, day))
}

/// Of dates that come once a month on whatever day (the last working day, say): 1, the
/// day on which months then begin.
fn any_day(dates: &[NaiveDate]) -> Option<u32> {
    let number = |date: &NaiveDate| i64::from(date.year()) * 12 + i64::from(date.month0());
    let apart = || dates.iter().zip(dates.iter().skip(1)).map(|(a, b)| number(b) - number(a));
    let close = |(a, b): (&NaiveDate, &NaiveDate)| (25..=37).contains(&(*b - *a).num_days());
    let neighbours = dates.iter().zip(dates.iter().skip(1)).filter(|pair| close(*pair)).count();
    let once = apart().all(|months| months > 0);
    // Four weeks come round once a month, too, for a year.
    let weekly = dates.iter().zip(dates.iter().skip(1)).all(|(a, b)| (*b - *a).num_days() % 7 == 0);
    (dates.len() >= 6 && once && !weekly && neighbours * 10 >= (dates.len() - 1) * 9).then_some(1)
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Whether dates are days of Monday to Friday, one after the other for the most part.
fn is_business(dates: &[NaiveDate]) -> bool {
    let weekday = |date: &NaiveDate| date.weekday().num_days_from_monday();
    let from_monday = |date: &NaiveDate| {
        let days = day_number(*date) + 3;
        days.div_euclid(7) * 5 + days.rem_euclid(7)
    };
    let apart = || dates.iter().zip(dates.iter().skip(1));
    let next = apart().filter(|(a, b)| from_monday(b) - from_monday(a) == 1).count();
    let over_weekend = apart().filter(|(a, b)| weekday(a) == 4 && weekday(b) == 0).count();
    dates.len() >= 10
        && over_weekend > 0
        && dates.iter().all(|date| weekday(date) < 5)
        && next * 3 >= (dates.len() - 1) * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(texts: &[&str]) -> String {
        let time = |text: &&str| text.parse().expect("a time");
        let times: Vec<EventTime> = texts.iter().map(time).collect();
        date_steps(&times, None).map_or("none".to_owned(), |grid| grid.to_string())
    }

    fn days(first: &str, until: &str, keep: impl Fn(&NaiveDate) -> bool) -> String {
        let date = |text: &str| text.parse::<NaiveDate>().expect("a date");
        let dates = date(first).iter_days().take_while(|day| *day < date(until)).filter(keep);
        let texts: Vec<String> = dates.map(|day| format!("{day}T00:00:00Z")).collect();
        found(&texts.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn months_quarters_and_years_are_found_on_any_day() {
        assert_eq!(days("2012-01-01", "2014-01-01", |d| d.day() == 1), "1 month");
        assert_eq!(days("2012-01-01", "2014-01-01", |d| d.day() == 15), "1 month from day 15");
        let last = |d: &NaiveDate| d.succ_opt().is_some_and(|next| next.day() == 1);
        assert_eq!(days("2012-01-01", "2014-01-01", last), "1 month from the last day");
        let quarter = |d: &NaiveDate| d.day() == 1 && d.month() % 3 == 2;
        assert_eq!(days("2012-01-01", "2014-01-01", quarter), "1 quarter from month 2");
        let year = |d: &NaiveDate| d.ordinal() == 1;
        assert_eq!(days("1700-01-01", "2009-01-01", year), "1 year");
        let last_working = |d: &NaiveDate| {
            let weekend = |d: &NaiveDate| d.weekday().num_days_from_monday() > 4;
            let rest: Vec<_> =
                d.iter_days().skip(1).take_while(|n| n.month() == d.month()).collect();
            !weekend(d) && rest.iter().all(weekend)
        };
        assert_eq!(days("2012-01-01", "2014-01-01", last_working), "1 month");
        assert_eq!(
            found(&["2024-01-30T00:00:00Z", "2024-02-29T00:00:00Z", "2024-03-30T00:00:00Z"]),
            "1 month from day 30"
        );
    }

    #[test]
    fn gaps_do_not_make_months_longer() {
        let with_gaps = |d: &NaiveDate| d.day() == 1 && !d.month().is_multiple_of(5);
        assert_eq!(days("2012-01-01", "2014-01-01", with_gaps), "1 month");
    }

    #[test]
    fn days_weeks_and_business_days_are_told_apart() {
        let weekday = |d: &NaiveDate| d.weekday().num_days_from_monday();
        assert_eq!(days("2024-01-01", "2024-03-01", |_| true), "1d");
        assert_eq!(days("2024-01-01", "2024-03-01", |d| weekday(d) < 5), "1 business day");
        let holidays = |d: &NaiveDate| weekday(d) < 5 && !matches!(d.day(), 1 | 24);
        assert_eq!(days("2024-01-01", "2024-04-01", holidays), "1 business day");
        assert_eq!(days("2024-01-01", "2024-03-01", |d| weekday(d) == 0), "7d, offset 4d");
        assert_eq!(days("2024-01-01", "2024-06-01", |d| day_number(*d) % 28 == 0), "28d");
    }

    #[test]
    fn midnight_of_a_zone_is_found_over_the_change_of_clocks() {
        let berlin = [
            "2024-03-29T23:00:00Z",
            "2024-03-30T23:00:00Z",
            "2024-03-31T22:00:00Z",
            "2024-04-01T22:00:00Z",
        ];
        assert_eq!(found(&berlin), "1 day, Europe/Berlin");
        let new_york = ["2024-03-09T05:00:00Z", "2024-03-10T05:00:00Z", "2024-03-11T04:00:00Z"];
        assert_eq!(found(&new_york), "1 day, America/New_York");
        assert_eq!(found(&["2024-03-29T23:00:00Z", "2024-03-31T11:00:00Z"]), "none");
    }
}
