//! How forecasts are written to a topic.

use crate::value_format::SchemaFraming;

/// How forecasts are written to a topic; nested JSON unless said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ForecastFormat {
    /// What a record's value is.
    pub encoding: ForecastEncoding,
    /// What a record is about.
    pub layout: ForecastLayout,
}

/// What the value of a forecast's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ForecastEncoding {
    /// A JSON object.
    #[default]
    Json,
    /// An Avro record, with what stands in front of it.
    Avro(SchemaFraming),
    /// A Protobuf message, with what stands in front of it.
    Protobuf(SchemaFraming),
}

impl ForecastEncoding {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Json,
        Self::Avro(SchemaFraming::None),
        Self::Avro(SchemaFraming::Confluent),
        Self::Protobuf(SchemaFraming::None),
        Self::Protobuf(SchemaFraming::Confluent),
    ];

    /// Returns its name in SQL: that of the format which reads it.
    ///
    /// ```
    /// use tidecast_stream::ForecastEncoding;
    /// let names = ForecastEncoding::ALL.map(ForecastEncoding::name);
    /// assert_eq!(names, ["json", "avro", "avro-confluent", "protobuf", "protobuf-confluent"]);
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Avro(SchemaFraming::None) => "avro",
            Self::Avro(SchemaFraming::Confluent) => "avro-confluent",
            Self::Protobuf(SchemaFraming::None) => "protobuf",
            Self::Protobuf(SchemaFraming::Confluent) => "protobuf-confluent",
        }
    }

    /// Returns how a record names its schema.
    pub const fn framing(self) -> SchemaFraming {
        match self {
            Self::Json => SchemaFraming::None,
            Self::Avro(framing) | Self::Protobuf(framing) => framing,
        }
    }

    /// Returns the media type of what is encoded, whatever stands in front of it.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Avro(_) => "avro/binary",
            Self::Protobuf(_) => "application/protobuf",
        }
    }
}

/// What a record of forecasts is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ForecastLayout {
    /// One forecast: a series, an origin, all steps of the horizon.
    #[default]
    Nested,
    /// One step of one target of a forecast, as the rows of files.
    Long,
}

impl ForecastLayout {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Nested, Self::Long];

    /// Returns its name in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nested => "nested",
            Self::Long => "long",
        }
    }
}
