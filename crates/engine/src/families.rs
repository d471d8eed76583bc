//! The families of models that pipelines choose from: the one place that names them.

use tidecast_forecast::{Family, seasonal_naive};

/// Every family, in the order in which messages name them.
pub const FAMILIES: [Family; 2] = [tidecast_moirai::FAMILY, seasonal_naive::FAMILY];
