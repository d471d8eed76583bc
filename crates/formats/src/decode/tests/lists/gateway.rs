//! Messages with lists, written in each format, and read by others.

use apache_avro::Schema as Written;
use apache_avro::error::Details;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Datum;
use apache_avro::writer::datum::GenericDatumWriter;
use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value as Held};

pub(super) const AVRO: &str = r#"{"type":"record","name":"Gateway","fields":[
    {"name":"site","type":["null","string"]},
    {"name":"data","type":["null",{"type":"record","name":"Data","fields":[
        {"name":"readings","type":{"type":"array","items":{"type":"record","name":"Reading","fields":[
            {"name":"kw","type":["null","double"]},
            {"name":"n","type":["null","long"]},
            {"name":"at","type":"long"},
            {"name":"deep","type":["null",{"type":"record","name":"Deep","fields":[
                {"name":"level","type":"double"}]}]},
            {"name":"unit","type":{"type":"enum","name":"Unit","symbols":["W","KW"]}}]}}},
        {"name":"values","type":{"type":"array","items":"double"}}]}]}]}"#;

pub(super) const PROTO: &str = r#"syntax = "proto3";
    message Gateway {
      Data data = 1;
      optional string site = 2;
      message Data { repeated Reading readings = 1; repeated double values = 2; }
      message Reading {
        optional double kw = 1;
        optional int64 n = 2;
        int64 at = 3;
        Deep deep = 4;
        Unit unit = 5;
      }
      message Deep { double level = 1; }
      enum Unit { W = 0; KW = 1; }
    }"#;

const UNITS: [&str; 2] = ["W", "KW"];

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reading {
    pub(super) kw: Option<f64>,
    pub(super) n: Option<i64>,
    pub(super) at: i64,
    pub(super) level: Option<f64>,
    pub(super) unit: u8,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gateway {
    pub(super) site: Option<String>,
    /// Readings, and values that are the elements themselves.
    pub(super) data: Option<(Vec<Reading>, Vec<f64>)>,
}

fn number(number: f64) -> String {
    match number {
        number if number.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        number => format!("{number:?}"),
    }
}

impl Gateway {
    pub(super) fn json(&self) -> Vec<u8> {
        let or_null = |text: Option<String>| text.unwrap_or_else(|| "null".to_owned());
        let data = self.data.as_ref().map(|(readings, values)| {
            let readings = readings.iter().map(|reading| {
                let Reading { kw, n, at, level, unit } = reading;
                format!(
                    r#"{{"kw":{},"n":{},"at":{at},"deep":{},"unit":"{}"}}"#,
                    or_null(kw.map(number)),
                    or_null(n.map(|n| n.to_string())),
                    or_null(level.map(|level| format!(r#"{{"level":{}}}"#, number(level)))),
                    UNITS[usize::from(*unit)],
                )
            });
            let readings: Vec<String> = readings.collect();
            let values: Vec<String> = values.iter().map(|value| number(*value)).collect();
            format!(
                r#""data":{{"readings":[{}],"values":[{}]}},"#,
                readings.join(","),
                values.join(",")
            )
        });
        let site = or_null(self.site.as_ref().map(|site| serde_json::to_string(site).unwrap()));
        format!(r#"{{{}"site":{site}}}"#, data.unwrap_or_default()).into_bytes()
    }

    pub(super) fn avro(&self) -> Vec<u8> {
        let or_null = |datum: Option<Datum>| match datum {
            None => Datum::Union(0, Box::new(Datum::Null)),
            Some(datum) => Datum::Union(1, Box::new(datum)),
        };
        let data = self.data.as_ref().map(|(readings, values)| {
            let readings = readings.iter().map(|reading| {
                let deep = |level| Datum::Record(vec![("level".to_owned(), Datum::Double(level))]);
                let unit = UNITS[usize::from(reading.unit)].to_owned();
                Datum::Record(vec![
                    ("kw".into(), or_null(reading.kw.map(Datum::Double))),
                    ("n".into(), or_null(reading.n.map(Datum::Long))),
                    ("at".into(), Datum::Long(reading.at)),
                    ("deep".into(), or_null(reading.level.map(deep))),
                    ("unit".into(), Datum::Enum(reading.unit.into(), unit)),
                ])
            });
            Datum::Record(vec![
                ("readings".into(), Datum::Array(readings.collect())),
                (
                    "values".into(),
                    Datum::Array(values.iter().copied().map(Datum::Double).collect()),
                ),
            ])
        });
        let gateway = Datum::Record(vec![
            ("site".into(), or_null(self.site.clone().map(Datum::String))),
            ("data".into(), or_null(data)),
        ]);
        let schema = Written::parse_str(AVRO).unwrap();
        let writer = GenericDatumWriter::builder(&schema).build().unwrap();
        writer.write_value_to_vec(gateway).unwrap()
    }

    pub(super) fn protobuf(&self) -> Vec<u8> {
        let mut gateway = DynamicMessage::new(message("Gateway"));
        if let Some(site) = &self.site {
            gateway.set_field_by_name("site", Held::String(site.clone()));
        }
        if let Some((readings, values)) = &self.data {
            let readings = readings.iter().map(|reading| {
                let mut held = DynamicMessage::new(message("Gateway.Reading"));
                if let Some(kw) = reading.kw {
                    held.set_field_by_name("kw", Held::F64(kw));
                }
                if let Some(n) = reading.n {
                    held.set_field_by_name("n", Held::I64(n));
                }
                held.set_field_by_name("at", Held::I64(reading.at));
                if let Some(level) = reading.level {
                    let mut deep = DynamicMessage::new(message("Gateway.Deep"));
                    deep.set_field_by_name("level", Held::F64(level));
                    held.set_field_by_name("deep", Held::Message(deep));
                }
                held.set_field_by_name("unit", Held::EnumNumber(reading.unit.into()));
                Held::Message(held)
            });
            let mut data = DynamicMessage::new(message("Gateway.Data"));
            data.set_field_by_name("readings", Held::List(readings.collect()));
            let values = values.iter().copied().map(Held::F64).collect();
            data.set_field_by_name("values", Held::List(values));
            gateway.set_field_by_name("data", Held::Message(data));
        }
        gateway.encode_to_vec()
    }

    /// What Apache's implementation makes of Avro, or whether arrow-avro may read more in it.
    pub(super) fn of_avro(mut bytes: &[u8]) -> Result<Self, bool> {
        let schema = Written::parse_str(AVRO).unwrap();
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        let datum = match reader.read_value(&mut bytes) {
            Ok(datum) if bytes.is_empty() => datum,
            Ok(_) => return Err(false),
            // It takes every branch but the first of a union with null for the other.
            Err(error) => {
                let error = error.details();
                let is_of_no_branch = matches!(
                    error,
                    Details::GetUnionVariant { .. } | Details::ConvertI64ToUsize(..)
                );
                return Err(is_of_no_branch);
            }
        };
        let some = |datum: Datum| match datum {
            Datum::Union(_, inner) if *inner == Datum::Null => None,
            Datum::Union(_, inner) => Some(*inner),
            other => Some(other),
        };
        let fields = |datum: Datum| match datum {
            Datum::Record(fields) => fields.into_iter().map(|(_, datum)| datum),
            other => panic!("{other:?}"),
        };
        let list = |datum: Datum| match datum {
            Datum::Array(elements) => elements.into_iter(),
            other => panic!("{other:?}"),
        };
        let double = |datum: Datum| match datum {
            Datum::Double(number) => number,
            other => panic!("{other:?}"),
        };
        let long = |datum: Datum| match datum {
            Datum::Long(number) => number,
            other => panic!("{other:?}"),
        };
        let mut gateway = fields(datum);
        let site = some(gateway.next().unwrap()).map(|site| match site {
            Datum::String(site) => site,
            other => panic!("{other:?}"),
        });
        let data = some(gateway.next().unwrap()).map(|data| {
            let mut data = fields(data);
            let readings = list(data.next().unwrap()).map(|reading| {
                let mut reading = fields(reading);
                let mut next = || reading.next().unwrap();
                Reading {
                    kw: some(next()).map(double),
                    n: some(next()).map(long),
                    at: long(next()),
                    level: some(next()).map(|deep| double(fields(deep).next().unwrap())),
                    unit: match next() {
                        Datum::Enum(unit, _) => unit as u8,
                        other => panic!("{other:?}"),
                    },
                }
            });
            let readings = readings.collect();
            (readings, list(data.next().unwrap()).map(double).collect())
        });
        Ok(Self { site, data })
    }

    /// What prost-reflect makes of Protobuf; enums that have no name in the schema aside.
    pub(super) fn of_protobuf(bytes: &[u8]) -> Result<Self, bool> {
        let gateway = DynamicMessage::decode(message("Gateway"), bytes).map_err(|_| false)?;
        let get = |message: &DynamicMessage, name: &str| {
            message
                .has_field_by_name(name)
                .then(|| message.get_field_by_name(name).unwrap().into_owned())
        };
        let double = |held: Held| held.as_f64().unwrap();
        let list =
            |held: Option<Held>| held.map_or(Vec::new(), |held| held.as_list().unwrap().to_vec());
        let data = get(&gateway, "data").map(|data| {
            let data = data.as_message().unwrap();
            let readings = list(get(data, "readings")).into_iter().map(|reading| {
                let reading = reading.as_message().unwrap();
                let level = get(reading, "deep")
                    .map(|deep| get(deep.as_message().unwrap(), "level").map_or(0.0, double));
                let unit = get(reading, "unit").map_or(0, |unit| unit.as_enum_number().unwrap());
                Some(Reading {
                    kw: get(reading, "kw").map(double),
                    n: get(reading, "n").map(|n| n.as_i64().unwrap()),
                    at: get(reading, "at").map_or(0, |at| at.as_i64().unwrap()),
                    level,
                    unit: u8::try_from(unit).ok().filter(|unit| *unit < 2)?,
                })
            });
            let readings: Option<Vec<Reading>> = readings.collect();
            let values = list(get(data, "values")).into_iter().map(double).collect();
            Some((readings?, values))
        });
        let data = match data {
            Some(None) => return Err(true),
            data => data.flatten(),
        };
        Ok(Self { site: get(&gateway, "site").map(|it| it.as_str().unwrap().to_owned()), data })
    }
}

fn message(name: &str) -> MessageDescriptor {
    thread_local! {
        static POOL: DescriptorPool = {
            let file = protox::file::File::from_source("g.proto", PROTO).unwrap();
            let mut pool = DescriptorPool::new();
            let mut proto = file.file_descriptor_proto().clone();
            proto.name = Some("g.proto".to_owned());
            pool.add_file_descriptor_proto(proto).unwrap();
            pool
        };
    }
    POOL.with(|pool| pool.get_message_by_name(name).unwrap())
}
