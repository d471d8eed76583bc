//! How forecasts are written to a topic.

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
    Avro(ForecastFraming),
    /// A Protobuf message, with what stands in front of it.
    Protobuf(ForecastFraming),
}

/// What stands in front of a forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForecastFraming {
    /// Nothing: who reads has to have the schema.
    None,
    /// By Confluent's wire format a zero byte and the number that a registry has given the
    /// schema, four bytes with the highest first.
    Confluent,
}

impl ForecastEncoding {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Json,
        Self::Avro(ForecastFraming::None),
        Self::Avro(ForecastFraming::Confluent),
        Self::Protobuf(ForecastFraming::None),
        Self::Protobuf(ForecastFraming::Confluent),
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
            Self::Avro(ForecastFraming::None) => "avro",
            Self::Avro(ForecastFraming::Confluent) => "avro-confluent",
            Self::Protobuf(ForecastFraming::None) => "protobuf",
            Self::Protobuf(ForecastFraming::Confluent) => "protobuf-confluent",
        }
    }

    /// Returns how a record names its schema.
    pub const fn framing(self) -> ForecastFraming {
        match self {
            Self::Json => ForecastFraming::None,
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
