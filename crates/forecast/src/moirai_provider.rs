//! MOIRAI-MoE behind the provider trait.

use crate::provider::{LoadError, ModelSpec};
use crate::seasonal_naive::SeasonalNaive;

pub(crate) fn load(spec: &ModelSpec) -> Result<SeasonalNaive, LoadError> {
    Err(LoadError::UnsupportedDevice { device: spec.device.clone() })
}
