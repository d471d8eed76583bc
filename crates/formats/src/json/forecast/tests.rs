use proptest::prelude::*;

use super::*;

fn of_two_targets() -> ForecastMessage {
    let quantiles = [[1.0, f64::NEG_INFINITY], [120.5, 1e-7]];
    ForecastMessage {
        id: ForecastId(*b"\x00\x01\xfe\xff 16 bytes it"),
        pipeline: "load \"1\"".into(),
        series: SeriesKey::new([("site", "Köln".into()), ("meter", 7.into())]),
        origin: EventTime::from_micros(1_722_470_400_250_000),
        revision: 0,
        step: Period::Fixed(900_000_000),
        times: Vec::new(),
        model: Arc::new(ModelRef { name: "tiny".to_owned(), version: "sha256:0f".to_owned() }),
        status: ForecastStatus::Ok,
        reason: None,
        context: ContextSummary { steps: 512, observed: 498 },
        variates: vec![
            VariateForecast::new("kw", [0.025, 0.9], &[60.0, f64::NAN], quantiles).unwrap(),
            VariateForecast::without_forecast("kvar", "none of the `512` steps was observed"),
        ],
        is_backfill: true,
    }
}

fn of_months() -> ForecastMessage {
    let times = ["2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"];
    ForecastMessage {
        series: SeriesKey::default(),
        step: Period::Months(1),
        times: times.map(|time| time.parse().unwrap()).to_vec(),
        status: ForecastStatus::TooShort,
        reason: Some("`3` observed steps of `16` needed (`min_context`)".to_owned()),
        variates: Vec::new(),
        is_backfill: false,
        ..of_two_targets()
    }
}

fn encoded(message: &ForecastMessage) -> String {
    let mut bytes = Vec::new();
    encode_forecast(message, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// What values a forecast was held to is in it, where there are bounds.
#[test]
fn a_domain_is_said_where_there_is_one() {
    let mut message = of_two_targets();
    let domain = Domain { lower: Some(0.0), upper: None, integer: true };
    message.variates[0].domain = domain;
    let text = encoded(&message);
    let said = r#""0.9":[120.5,1e-7]},"domain":{"lower":0.0,"integer":true}},"#;
    assert!(text.contains(said), "{text}");
    assert_eq!(decode_forecast(text.as_bytes()).unwrap().variates[0].domain, domain);
}

/// What several steps come to and sample paths are said where they were asked for.
#[test]
fn what_belongs_together_is_said_where_it_is_asked_for() {
    let mut message = of_two_targets();
    let aggregate: HorizonAggregate = "sum:2".parse().unwrap();
    let quantiles = vec![vec![3.5], vec![f64::NEG_INFINITY]];
    let sums = AggregateValues { aggregate, mean: vec![4.25], quantiles };
    message.variates[0].aggregates = vec![sums];
    message.variates[0].samples = vec![vec![1.0, f64::NAN], vec![0.5, 2.0]];
    let text = encoded(&message);
    let said = concat!(
        r#""0.9":[120.5,1e-7]},"aggregates":[{"function":"sum","steps":2,"mean":[4.25],"#,
        r#""quantiles":{"0.025":[3.5],"0.9":[null]}}],"samples":[[1.0,null],[0.5,2.0]]},"#
    );
    assert!(text.contains(said), "{text}");
    let read = decode_forecast(text.as_bytes()).unwrap();
    assert_eq!(encoded(&read), text);
    assert_eq!(read.variates[0].aggregates[0].aggregate, aggregate);
}

/// What subscribers read today they read tomorrow: fields, their order, the form of
/// numbers.
#[test]
fn a_message_has_these_bytes() {
    let expected = concat!(
        r#"{"forecast_id":"0001feff203136206279746573206974","pipeline":"load \"1\"","#,
        r#""series":{"site":"Köln","meter":7},"origin":"2024-08-01T00:00:00.250Z","#,
        r#""step":"PT15M","step_ms":900000,"#,
        r#""model":{"name":"tiny","version":"sha256:0f"},"status":"ok","#,
        r#""context":{"steps":512,"observed":498},"#,
        r#""variates":[{"name":"kw","mean":[60.0,null],"#,
        r#""quantiles":{"0.025":[1.0,null],"0.9":[120.5,1e-7]}},"#,
        r#"{"name":"kvar","mean":[],"quantiles":{},"#,
        r#""reason":"none of the `512` steps was observed"}],"is_backfill":true}"#,
    );
    assert_eq!(encoded(&of_two_targets()), expected);
    let expected = concat!(
        r#"{"forecast_id":"0001feff203136206279746573206974","pipeline":"load \"1\"","#,
        r#""series":{},"origin":"2024-08-01T00:00:00.250Z","step":"P1M","step_ms":null,"#,
        r#""times":["2024-02-01T00:00:00Z","2024-03-01T00:00:00Z"],"#,
        r#""model":{"name":"tiny","version":"sha256:0f"},"status":"too_short","#,
        r#""reason":"`3` observed steps of `16` needed (`min_context`)","#,
        r#""context":{"steps":512,"observed":498},"variates":[],"is_backfill":false}"#,
    );
    assert_eq!(encoded(&of_months()), expected);
}

#[test]
fn what_was_written_is_read_again() {
    let written = of_two_targets();
    let read = decode_forecast(encoded(&written).as_bytes()).unwrap();
    // NaN is nothing's equal; what is written of it is.
    assert_eq!(encoded(&read), encoded(&written));
    assert!(read.variates[0].quantile(0.025).unwrap()[1].is_nan());
    assert_eq!(read.variates[1], written.variates[1]);
    assert_eq!(decode_forecast(encoded(&of_months()).as_bytes()).unwrap(), of_months());
    // A week is `P1W`, of 168 hours or of a time zone; 1.5 ms are 1 in `step_ms`.
    let day = 86_400_000_000;
    for step in [Period::Fixed(7 * day), Period::Days(7), Period::Fixed(1_500), Period::Fixed(day)]
    {
        let written = ForecastMessage { step, ..of_months() };
        assert_eq!(decode_forecast(encoded(&written).as_bytes()).unwrap(), written, "{step:?}");
    }
}

#[test]
fn what_is_no_forecast_says_where() {
    let good = encoded(&of_two_targets());
    for (from, to, reason) in [
        ("0001fe", "xx01fe", "is no forecast id, expected 32 hexadecimal digits"),
        (r#""ok""#, r#""good""#, "`good` is no status of a forecast"),
        ("PT15M", "soon", "cannot read `soon` as a step"),
        ("900000", "-1", "`step_ms` is `-1`, expected a distance above zero"),
        (r#""0.9":"#, r#""1.5":"#, "`1.5` is no quantile level"),
        ("[60.0,null]", "[60.0]", "a quantile of `kw` has `2` steps, expected `1`"),
        (r#","is_backfill":true"#, "", "missing field `is_backfill`"),
    ] {
        assert!(good.contains(from), "{from}");
        let error = decode_forecast(good.replace(from, to).as_bytes()).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let later = good.replace(r#""status""#, r#""later_field":[{}],"status""#);
    assert_eq!(encoded(&decode_forecast(later.as_bytes()).unwrap()), good);
}

proptest! {
    /// Numbers are written to the bit, whatever reads them, and read to the last digit but
    /// one; a level is read as it is.
    #[test]
    fn numbers_are_exact(
        mean in prop::collection::vec(prop::num::f64::NORMAL | prop::num::f64::ZERO, 1..5),
        level in 1e-9_f64..1.0,
    ) {
        let kw = VariateForecast::new("kw", [level], &mean, [&mean]).unwrap();
        let text = encoded(&ForecastMessage { variates: vec![kw], ..of_two_targets() });
        let (_, behind) = text.split_once(r#""mean":["#).unwrap();
        let (numbers, _) = behind.split_once(']').unwrap();
        let bits = |value: f64| value.to_bits();
        let written: Vec<u64> =
            numbers.split(',').map(|number| bits(number.parse().unwrap())).collect();
        prop_assert_eq!(written, mean.iter().copied().map(bits).collect::<Vec<_>>());

        let read = decode_forecast(text.as_bytes()).unwrap();
        let quantile = read.variates[0].quantile(level).unwrap();
        for (read, written) in quantile.iter().zip(&mean) {
            prop_assert!((read - written).abs() <= written.abs() * 1e-15, "{read} {written}");
        }
    }
}
