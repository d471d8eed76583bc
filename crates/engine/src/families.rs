//! The families of models that pipelines choose from: the one place that names them.

use tidecast_forecast::{Family, seasonal_naive};
use tidecast_stream::ModelCatalog;

/// Every family, in the order in which messages name them.
pub const FAMILIES: [Family; 2] = [tidecast_moirai::FAMILY, seasonal_naive::FAMILY];

/// The same as the planner sees them, and the model of pipelines that name none.
pub const MODELS: ModelCatalog = ModelCatalog {
    families: &[tidecast_moirai::FAMILY.about, seasonal_naive::FAMILY.about],
    default_model: "tiny",
    default_family: tidecast_moirai::FAMILY.about.name,
};
