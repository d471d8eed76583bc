//! What is written against readers that are not ours: Apache's Avro and prost's reflection.
//! Both are made JSON again, which has to be the text that JSON is.

mod oracle;

use std::sync::Arc;

use arrow::datatypes::DataType;
use proptest::prelude::*;
use serde_json::{Value, json};
use tidecast_stream::{
    AggregateValues, ContextSummary, Domain, EventTime, ForecastId, ForecastStatus, ModelRef,
    Period, SeriesKey, VariateForecast,
};

use self::oracle::{canonical, of_avro, of_protobuf};
use super::*;

const AVRO: ForecastEncoding = ForecastEncoding::Avro(ForecastFraming::None);
const PROTOBUF: ForecastEncoding = ForecastEncoding::Protobuf(ForecastFraming::None);

fn forecasts(levels: &[f64]) -> ForecastSchema {
    let series = [
        ("site", DataType::Utf8),
        ("no. of phases", DataType::Int64),
        ("total", DataType::UInt64),
        ("q0.1", DataType::Float64),
        ("origin", DataType::Boolean),
    ];
    ForecastSchema {
        series: series.map(|(name, kind)| (name.to_owned(), kind)).to_vec(),
        targets: vec!["kw".to_owned(), "kvar".to_owned()],
        levels: levels.to_vec(),
        horizon: 2,
        aggregates: vec!["sum:2".parse().unwrap()],
    }
}

fn encoder(encoding: ForecastEncoding, layout: ForecastLayout, levels: &[f64]) -> ForecastEncoder {
    let format = ForecastFormat { encoding, layout };
    ForecastEncoder::new("load 1", &forecasts(levels), format).unwrap()
}

fn encoded(encoder: &ForecastEncoder, message: &ForecastMessage) -> Vec<Vec<u8>> {
    let one = |index| {
        let mut bytes = Vec::new();
        encoder.encode(message, index, &mut bytes).unwrap();
        bytes
    };
    (0..encoder.records(message)).map(one).collect()
}

fn message() -> ForecastMessage {
    let quantiles = [[1.0, f64::NEG_INFINITY], [120.5, 1e-7]];
    let mut kw = VariateForecast::new("kw", [0.1, 0.9], &[-0.0, f64::NAN], quantiles).unwrap();
    let quantiles = vec![vec![3.5], vec![f64::INFINITY]];
    let aggregate = "sum:2".parse().unwrap();
    kw.aggregates = vec![AggregateValues { aggregate, mean: vec![4.25], quantiles }];
    kw.samples = vec![vec![1.0, f64::NAN], vec![0.5, 2.0]];
    kw.domain = Domain { lower: Some(-0.0), upper: None, integer: true };
    ForecastMessage {
        id: ForecastId(*b"\x00\x01\xfe\xff 16 bytes it"),
        pipeline: "load 1".into(),
        series: SeriesKey::new([
            ("site", "Köln".into()),
            ("no. of phases", (-3).into()),
            ("total", u64::MAX.into()),
            ("q0.1", 2.0.into()),
            ("origin", true.into()),
        ]),
        origin: EventTime::from_micros(-1_722_470_400_250_001),
        revision: 3,
        step: Period::Fixed(900_000_000),
        times: Vec::new(),
        model: Arc::new(ModelRef { name: "tiny".to_owned(), version: "sha256:0f".to_owned() }),
        status: ForecastStatus::Ok,
        reason: None,
        context: ContextSummary { steps: 512, observed: 0 },
        variates: vec![
            kw,
            VariateForecast::without_forecast("kvar", "none of the `512` steps was observed"),
        ],
        is_backfill: true,
    }
}

fn of_months() -> ForecastMessage {
    let times = ["2024-02-01T00:00:00Z", "2024-03-01T00:00:00.000001Z"];
    ForecastMessage {
        step: Period::Months(1),
        times: times.map(|time| time.parse().unwrap()).to_vec(),
        is_backfill: false,
        ..message()
    }
}

fn without_forecast() -> ForecastMessage {
    ForecastMessage {
        status: ForecastStatus::TooShort,
        reason: Some("`3` observed steps of `16` needed (`min_context`)".to_owned()),
        series: SeriesKey::new(message().series.0.keys().map(|name| (name.as_str(), Value::Null))),
        variates: Vec::new(),
        ..message()
    }
}

/// All formats say of a message what JSON says, number for number.
fn check(message: &ForecastMessage, levels: &[f64], layout: ForecastLayout) {
    let [json, avro, protobuf] =
        [ForecastEncoding::Json, AVRO, PROTOBUF].map(|encoding| encoder(encoding, layout, levels));
    let texts: Vec<String> =
        encoded(&json, message).into_iter().map(|it| String::from_utf8(it).unwrap()).collect();
    let (of_avro, of_protobuf) = (of_avro(&avro, layout), of_protobuf(&protobuf, layout));
    let avro: Vec<Value> = encoded(&avro, message).iter().map(|it| of_avro(it)).collect();
    let protobuf: Vec<Value> =
        encoded(&protobuf, message).iter().map(|it| of_protobuf(it)).collect();
    assert_eq!(texts, avro.iter().map(Value::to_string).collect::<Vec<_>>());
    // Protobuf's fields have another order.
    let sorted = |of: &[Value]| of.iter().map(canonical).collect::<Vec<_>>();
    assert_eq!(sorted(&avro), sorted(&protobuf));
}

#[test]
fn all_formats_say_what_json_says() {
    for message in [message(), of_months(), without_forecast()] {
        for layout in ForecastLayout::ALL {
            check(&message, &[0.1, 0.9], layout);
        }
    }
}

#[test]
fn a_row_is_a_step_of_a_target() {
    let json = encoder(ForecastEncoding::Json, ForecastLayout::Long, &[0.1, 0.9]);
    let rows = encoded(&json, &message());
    let text = |index: usize| String::from_utf8(rows[index].clone()).unwrap();
    let expected = concat!(
        r#"{"forecast_id":"0001feff203136206279746573206974","pipeline":"load 1","site":"Köln","#,
        r#""no. of phases":-3,"total":18446744073709551615,"series_q0.1":2.0,"#,
        r#""series_origin":true,"origin":"1915-06-02T23:59:59.749999Z","#,
        r#""time":"1915-06-03T00:14:59.749999Z","step":1,"aggregate":null,"variate":"kw","#,
        r#""mean":-0.0,"q0.1":1.0,"q0.9":120.5,"model":"tiny","status":"ok","reason":null}"#,
    );
    assert_eq!(text(0), expected);
    assert!(text(2).contains(r#""step":2,"aggregate":"sum:2","variate":"kw","mean":4.25,"#));
    let kvar = r#""time":null,"step":null,"aggregate":null,"variate":"kvar","mean":null,"#;
    assert!(text(3).contains(kvar), "{}", text(3));
    assert_eq!(rows.len(), 4);
    let none = encoded(&json, &without_forecast());
    assert_eq!(none.len(), 1);
    assert!(String::from_utf8_lossy(&none[0]).contains(r#""variate":null"#));
}

#[test]
fn a_record_says_what_is_wrong_with_it() {
    let stranger = SeriesKey::new([("city", "A".into())]);
    let misfit = SeriesKey::new([("total", (-1).into())]);
    for encoding in [AVRO, PROTOBUF] {
        for (layout, levels, series, reason) in [
            (ForecastLayout::Nested, [0.1, 0.9], &stranger, "a series column `city`"),
            (ForecastLayout::Long, [0.1, 0.9], &misfit, "`-1` in series column `total`"),
            (ForecastLayout::Long, [0.1, 0.5], &message().series, "quantiles [0.1, 0.9]"),
        ] {
            let encoder = encoder(encoding, layout, &levels);
            let message = ForecastMessage { series: series.clone(), ..message() };
            let error = encoder.encode(&message, 0, &mut Vec::new()).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert!(encoder.encode(&message, 99, &mut Vec::new()).is_err());
        }
    }
}

#[test]
fn a_registered_schema_stands_in_front_by_its_number() {
    for (encoding, frame) in [
        (ForecastEncoding::Avro(ForecastFraming::Confluent), &[0, 1, 2, 3, 4][..]),
        (ForecastEncoding::Protobuf(ForecastFraming::Confluent), &[0, 1, 2, 3, 4, 0]),
    ] {
        let mut encoder = encoder(encoding, ForecastLayout::Nested, &[0.1, 0.9]);
        assert!(encoder.needs_schema_number());
        let plain = encoded(&encoder, &message());
        encoder.set_schema_number(0x0102_0304);
        let framed = encoded(&encoder, &message());
        assert_eq!(framed, [[frame, &plain[0]].concat()]);
    }
}

/// Another version of a pipeline may tell other quantiles: who reads by either schema reads
/// the records of both.
#[test]
fn another_level_is_a_compatible_change() {
    let few = message();
    let many = {
        let levels = [0.05, 0.1, 0.125, 0.9, 0.99999];
        let quantiles = levels.map(|level| [level, level]);
        let kw = VariateForecast::new("kw", levels, &[1.0, 2.0], quantiles).unwrap();
        ForecastMessage { variates: vec![kw], ..message() }
    };
    for encoding in [AVRO, PROTOBUF] {
        let of = |levels: &[f64]| encoder(encoding, ForecastLayout::Long, levels);
        let (old, new) = (of(&[0.1, 0.9]), of(&[0.05, 0.1, 0.125, 0.9, 0.99999]));
        for (writer, reader, message, absent) in
            [(&old, &new, &few, "q0.05"), (&new, &old, &many, "none")]
        {
            let read = oracle::resolved(writer, reader, &encoded(writer, message)[0]);
            assert_eq!(read.get(absent).unwrap_or(&Value::Null), &Value::Null);
            let expected = message.variates[0].quantile(0.1).unwrap()[0];
            assert_eq!(read["q0.1"], json!(expected));
            assert_eq!(read["site"], "Köln");
        }
        let nested = |levels: &[f64]| encoder(encoding, ForecastLayout::Nested, levels).schema();
        assert_eq!(nested(&[0.1]), nested(&[0.1, 0.5]), "levels are data there");
    }
}

#[test]
fn a_level_that_protobuf_has_no_number_for_is_refused() {
    let schema = ForecastSchema { levels: vec![0.123_456_789], ..forecasts(&[]) };
    let new = |layout| {
        let format = ForecastFormat { encoding: PROTOBUF, layout };
        ForecastEncoder::new("p", &schema, format).map(|_| ())
    };
    let error = new(ForecastLayout::Long).unwrap_err().to_string();
    assert!(error.contains("`0.123456789`") && error.contains("'layout'='nested'"), "{error}");
    assert_eq!(new(ForecastLayout::Nested), Ok(()));
}

/// What consumers' code is made of changes on purpose only.
#[test]
fn the_schemas_are_these() {
    for layout in ForecastLayout::ALL {
        let name = |end: &str| format!("src/forecast/tests/{}.{end}", layout.name());
        for (encoding, file) in [(AVRO, name("avsc")), (PROTOBUF, name("proto"))] {
            let found = encoder(encoding, layout, &[0.1, 0.975, 0.99999]).schema().unwrap().text;
            let found = match encoding {
                AVRO => {
                    let schema: Value = serde_json::from_str(&found).unwrap();
                    serde_json::to_string_pretty(&schema).unwrap() + "\n"
                }
                _ => found,
            };
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            if std::env::var_os("TIDECAST_BLESS").is_some() {
                std::fs::write(&path, &found).unwrap();
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), found, "{}", path.display());
        }
    }
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => prop::num::f64::ANY,
        1 => Just(f64::NAN),
        1 => Just(f64::NEG_INFINITY),
        1 => Just(-0.0),
    ]
}

prop_compose! {
    fn any_variate(name: &'static str)(
        steps in 0_usize..4,
        values in prop::collection::vec(any_number(), 16),
        sums: bool,
        samples in 0_usize..3,
        lower in prop::option::of(prop::num::f64::NORMAL),
        integer: bool,
        reason in prop::option::of("\\PC{0,20}"),
    ) -> VariateForecast {
        let mean = &values[..steps];
        let quantiles = [&values[4..4 + steps], &values[8..8 + steps]];
        let levels = if steps > 0 { vec![0.1, 0.9] } else { Vec::new() };
        let taken = levels.len();
        let mut made =
            VariateForecast::new(name, levels, mean, quantiles.into_iter().take(taken)).unwrap();
        if sums {
            let aggregate = "max".parse().unwrap();
            let quantiles = vec![vec![values[13]]; taken];
            made.aggregates = vec![AggregateValues { aggregate, mean: vec![values[12]], quantiles }];
        }
        made.samples = vec![mean.to_vec(); samples];
        made.domain = Domain { lower, upper: None, integer };
        made.reason = reason;
        made
    }
}

prop_compose! {
    fn any_message()(
        site in prop::option::of("\\PC{0,10}"),
        phases: Option<i64>,
        total: Option<u64>,
        number in prop::option::of(prop::num::f64::NORMAL),
        truth: Option<bool>,
        micros in -60_000_000_000_000_000_i64..250_000_000_000_000_000,
        kw in prop::option::of(any_variate("kw")),
        kvar in prop::option::of(any_variate("kvar")),
        months: bool,
    ) -> ForecastMessage {
        let message = if months { of_months() } else { message() };
        ForecastMessage {
            series: SeriesKey::new([
                ("site", json!(site)),
                ("no. of phases", json!(phases)),
                ("total", json!(total)),
                ("q0.1", json!(number)),
                ("origin", json!(truth)),
            ]),
            origin: EventTime::from_micros(micros),
            variates: kw.into_iter().chain(kvar).collect(),
            ..message
        }
    }
}

proptest! {
    /// Whatever a forecast is, all formats say the same, to the bit.
    #[test]
    fn every_forecast_is_the_same_in_all_formats(message in any_message()) {
        for layout in ForecastLayout::ALL {
            check(&message, &[0.1, 0.9], layout);
        }
    }

    /// Whatever columns are called, the schemas are schemas.
    #[test]
    fn every_name_of_a_column_gives_schemas(
        names in prop::collection::btree_set("[a-zA-Z_.Ä\"\\\\ ]{1,6}", 0..5),
        pipeline in "\\PC{1,8}",
    ) {
        let column = |name: String| (name, DataType::Utf8);
        let series = names.into_iter().map(column).collect();
        let forecasts = ForecastSchema { series, ..forecasts(&[0.1]) };
        for layout in ForecastLayout::ALL {
            for encoding in [AVRO, PROTOBUF] {
                let format = ForecastFormat { encoding, layout };
                let encoder = ForecastEncoder::new(&pipeline, &forecasts, format).unwrap();
                oracle::parse(&encoder.schema().unwrap());
            }
        }
    }
}
