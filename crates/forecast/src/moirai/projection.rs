//! Patches to tokens and tokens to distributions: one set of layers for each
//! patch size.

use candle_core::{IndexOp, Result, Tensor};
use candle_nn::ops::silu;

use super::{Probe, Stage};
use crate::checkpoint::Weights;
use crate::config::Config;
use crate::ops::{add, linear};
use crate::provider::LoadError;

/// The layers that belong to one patch size.
#[derive(Debug)]
pub(super) struct PatchProjection {
    in_proj: Linear,
    res_proj: Linear,
    feat_proj: Linear,
    pub(super) head: Linear,
}

impl PatchProjection {
    pub(super) fn load_all(
        config: &Config,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Vec<Self>, LoadError> {
        let (sizes, width, patch) = (&config.patch_sizes, config.d_model, config.patch_width);
        // Columns beyond the patch size are trained for nothing: off.
        let masked = |row_columns: usize| {
            move |size: usize, _row: usize, column: usize| row_columns == patch && column >= size
        };
        let ins = linears("in_proj", sizes, width, patch, masked(patch), weights)?;
        let residuals = linears("res_proj", sizes, width, patch, masked(patch), weights)?;
        let feats = linears(
            "feat_proj",
            sizes,
            width,
            width,
            |_: usize, _: usize, _: usize| false,
            weights,
        )?;
        let mut heads: Vec<Vec<Linear>> = sizes.iter().map(|_| Vec::new()).collect();
        for leaf in config.output.leaves() {
            let name = format!("param_proj.proj.{}", leaf.name);
            // The mask counts rows, not positions: with several numbers per
            // position it keeps other rows than one would think. The bias of
            // a masked row stays.
            let mask = |size: usize, row: usize, _column: usize| row >= leaf.dim * size;
            let layers = linears(&name, sizes, leaf.dim * patch, width, mask, weights)?;
            heads.iter_mut().zip(layers).for_each(|(head, layer)| head.push(layer));
        }
        let mut projections = Vec::with_capacity(sizes.len());
        for (((in_proj, res_proj), feat_proj), head) in
            ins.into_iter().zip(residuals).zip(feats).zip(heads)
        {
            let head = Linear::side_by_side(&head)?;
            projections.push(Self { in_proj, res_proj, feat_proj, head });
        }
        Ok(projections)
    }

    pub(super) fn linears(&self) -> [&Linear; 4] {
        [&self.in_proj, &self.res_proj, &self.feat_proj, &self.head]
    }

    pub(super) fn embed(&self, scaled: &Tensor, probe: &mut Probe<'_>) -> Result<Tensor> {
        let hidden = self.in_proj.forward(scaled)?;
        probe.see(Stage::InProjection, &hidden);
        let feature = self.feat_proj.forward(&silu(&hidden)?)?;
        probe.see(Stage::FeatureProjection, &feature);
        let residual = self.res_proj.forward(scaled)?;
        probe.see(Stage::ResidualProjection, &residual);
        let embedded = add(&feature, &residual)?;
        probe.see(Stage::EncoderIn, &embedded);
        Ok(embedded)
    }
}

/// Reads `NAME.weight` `[sizes, outputs, inputs]` and `NAME.bias`
/// `[sizes, outputs]`; weights that `masked(size, row, column)` names are 0.
fn linears(
    name: &str,
    sizes: &[usize],
    outputs: usize,
    inputs: usize,
    masked: impl Fn(usize, usize, usize) -> bool,
    weights: &mut Weights<'_>,
) -> std::result::Result<Vec<Linear>, LoadError> {
    let mut all = weights.numbers(&format!("{name}.weight"), &[sizes.len(), outputs, inputs])?;
    let biases = weights.tensor(&format!("{name}.bias"), &[sizes.len(), outputs])?;
    for (matrix, &size) in all.chunks_exact_mut(outputs * inputs).zip(sizes) {
        for (index, weight) in matrix.iter_mut().enumerate() {
            if masked(size, index / inputs, index % inputs) {
                *weight = 0.0;
            }
        }
    }
    let all = Tensor::from_vec(all, (sizes.len(), outputs, inputs), weights.device())?;
    let linear = |index| -> Result<Linear> {
        Ok(Linear { weight: all.i(index)?.t()?.contiguous()?, bias: biases.i(index)? })
    };
    Ok((0..sizes.len()).map(linear).collect::<Result<_>>()?)
}

/// `x weight + bias`; the weight is `[inputs, outputs]`.
#[derive(Debug)]
pub(super) struct Linear {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
}

impl Linear {
    fn side_by_side(layers: &[Linear]) -> Result<Self> {
        let weights: Vec<_> = layers.iter().map(|layer| &layer.weight).collect();
        let biases: Vec<_> = layers.iter().map(|layer| &layer.bias).collect();
        Ok(Self { weight: Tensor::cat(&weights, 1)?, bias: Tensor::cat(&biases, 0)? })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        linear(x, &self.weight, &self.bias)
    }
}
