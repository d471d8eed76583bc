//! The families there are, so that what is said of them is what people read.

use tidecast_forecast::seasonal_naive;
use tidecast_stream::ModelCatalog;

pub(crate) const MODELS: ModelCatalog = ModelCatalog {
    families: &[tidecast_moirai::FAMILY.about, seasonal_naive::FAMILY.about],
    default_model: "tiny",
    default_family: tidecast_moirai::FAMILY.about.name,
};
