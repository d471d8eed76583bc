//! `config.json` of a MOIRAI-MoE checkpoint, as uni2ts' `save_pretrained`
//! writes it.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::distribution::{Component, DistributionOutput};
use crate::error::CheckpointError;

/// Width of one attention head where the model is wide enough: uni2ts has
/// `d_model / 64` heads.
const HEAD_WIDTH: usize = 64;

/// The shape of a model. Keys of the file that inference does not need
/// (dropout, `max_seq_len`) and unknown ones are ignored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    /// Width of a token.
    pub(crate) d_model: usize,
    /// Hidden width of each expert.
    pub(crate) d_ff: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) head_dim: usize,
    /// In the order of the file, which indexes the projections.
    pub(crate) patch_sizes: Vec<usize>,
    /// The largest patch size: the width of every patch tensor.
    pub(crate) patch_width: usize,
    /// Whether location and scale are taken out.
    pub(crate) scaling: bool,
    pub(crate) output: DistributionOutput,
}

#[derive(Deserialize)]
struct RawConfig {
    d_model: usize,
    d_ff: usize,
    num_layers: usize,
    patch_sizes: Vec<usize>,
    #[serde(default = "yes")]
    scaling: bool,
    distr_output: Value,
}

fn yes() -> bool {
    true
}

impl Config {
    /// Parses the file's text; `path` is for messages.
    pub(crate) fn parse(text: &[u8], path: &Path) -> Result<Self, CheckpointError> {
        let fail = |reason: String| CheckpointError::Config { path: path.to_owned(), reason };
        let raw: RawConfig = serde_json::from_slice(text).map_err(|error| {
            fail(format!("{error}; expected the `config.json` of a MOIRAI-MoE checkpoint"))
        })?;
        for (name, value) in
            [("d_model", raw.d_model), ("d_ff", raw.d_ff), ("num_layers", raw.num_layers)]
        {
            if value == 0 {
                return Err(fail(format!("`{name}` is `0`: expected at least `1`")));
            }
        }
        let Some(&patch_width) = raw.patch_sizes.iter().max() else {
            return Err(fail("`patch_sizes` is empty: expected at least one, as in `[16]`".into()));
        };
        if raw.patch_sizes.contains(&0) {
            return Err(fail("`patch_sizes` holds `0`: expected at least `1`".into()));
        }
        let heads = (raw.d_model / HEAD_WIDTH).max(1);
        let head_dim = raw.d_model / heads;
        // Half of a head is rotated, in pairs.
        if !raw.d_model.is_multiple_of(heads) || !head_dim.is_multiple_of(4) {
            return Err(fail(format!(
                "`d_model` is `{}`: expected a multiple of `{HEAD_WIDTH}`",
                raw.d_model
            )));
        }
        let output = distribution_output(&raw.distr_output).map_err(fail)?;
        Ok(Self {
            d_model: raw.d_model,
            d_ff: raw.d_ff,
            layers: raw.num_layers,
            heads,
            head_dim,
            patch_width,
            patch_sizes: raw.patch_sizes,
            scaling: raw.scaling,
            output,
        })
    }
}

fn distribution_output(value: &Value) -> Result<DistributionOutput, String> {
    let class = target(value)?;
    if class != "MixtureOutput" {
        return Ok(DistributionOutput::Single(component(value)?));
    }
    let components = value
        .get("components")
        .and_then(Value::as_array)
        .filter(|components| !components.is_empty())
        .ok_or("`distr_output` is a mixture without `components`: expected a list of outputs")?;
    components.iter().map(component).collect::<Result<_, _>>().map(DistributionOutput::Mixture)
}

fn component(value: &Value) -> Result<Component, String> {
    let number = |key: &str, default: f64| match value.get(key) {
        None => Ok(default),
        Some(number) => number
            .as_f64()
            .filter(|number| *number > 0.0)
            .ok_or_else(|| format!("`distr_output` has `{key}` `{number}`: expected above `0`")),
    };
    Ok(match target(value)? {
        "StudentTOutput" => Component::StudentT,
        "NormalOutput" => Component::Normal,
        "NormalFixedScaleOutput" => Component::NormalFixedScale { scale: number("scale", 1e-3)? },
        "NegativeBinomialOutput" => Component::NegativeBinomial,
        "LogNormalOutput" => Component::LogNormal,
        "LaplaceOutput" => Component::Laplace,
        "LaplaceFixedScaleOutput" => Component::LaplaceFixedScale { scale: number("scale", 1e-3)? },
        "ParetoOutput" => Component::Pareto,
        "ParetoFixedAlphaOutput" => Component::ParetoFixedAlpha { alpha: number("alpha", 3.0)? },
        other => {
            return Err(format!(
                "unknown distribution `{other}` in `distr_output`: expected one of uni2ts' \
                 `MixtureOutput`, `StudentTOutput`, `NormalOutput`, `NormalFixedScaleOutput`, \
                 `NegativeBinomialOutput`, `LogNormalOutput`, `LaplaceOutput`, \
                 `LaplaceFixedScaleOutput`, `ParetoOutput`, `ParetoFixedAlphaOutput`"
            ));
        }
    })
}

/// Returns the class name at the end of `_target_`.
fn target(value: &Value) -> Result<&str, String> {
    let path = value
        .get("_target_")
        .and_then(Value::as_str)
        .ok_or("`distr_output` lacks `_target_`: expected the name of a uni2ts output class")?;
    Ok(path.rsplit('.').next().unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(change: impl FnOnce(&mut Value)) -> Result<Config, String> {
        let mut value: Value =
            serde_json::from_slice(include_bytes!("../tests/golden/model/config.json"))
                .expect("json");
        change(&mut value);
        Config::parse(value.to_string().as_bytes(), Path::new("config.json"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_published_form_is_read_and_unknown_keys_are_ignored() {
        let config = parse(|value| value["a_new_key"] = 1.into()).expect("config");
        assert_eq!((config.d_model, config.d_ff, config.layers), (128, 40, 2));
        assert_eq!((config.heads, config.head_dim, config.patch_width), (2, 64, 16));
        assert_eq!(
            config.output,
            DistributionOutput::Mixture(vec![
                Component::StudentT,
                Component::NormalFixedScale { scale: 0.001 },
                Component::NegativeBinomial,
                Component::LogNormal,
            ])
        );
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_place() {
        let unknown = parse(|value| {
            value["distr_output"]["components"][1]["_target_"] = "uni2ts.x.CauchyOutput".into();
        });
        assert!(unknown.expect_err("refused").contains("unknown distribution `CauchyOutput`"));
        let empty = parse(|value| value["patch_sizes"] = Value::Array(vec![]));
        assert!(empty.expect_err("refused").contains("`patch_sizes` is empty"));
        let missing = parse(|value| {
            value.as_object_mut().expect("object").shift_remove("d_ff");
        });
        assert!(missing.expect_err("refused").contains("missing field `d_ff`"));
        let odd = parse(|value| value["d_model"] = 130.into());
        assert!(odd.expect_err("refused").contains("expected a multiple of `64`"));
    }
}
