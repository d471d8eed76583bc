//! Patches to tokens and tokens to distributions: one set of layers for each
//! patch size.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use candle_nn::ops::silu;

use super::{Probe, Stage};
use crate::config::Config;
use crate::error::CheckpointError;
use crate::ops::{Packed, add_to, linear};
use crate::precision::Precision;
use crate::weights::Weights;

/// The layers that belong to one patch size.
#[derive(Debug)]
pub(super) struct PatchProjection {
    in_proj: Linear,
    res_proj: Linear,
    feat_proj: Linear,
    pub(super) head: Linear,
}

/// The layers that belong to one patch size, as they are stored.
pub(crate) struct RawProjection {
    pub(crate) in_proj: Raw,
    pub(crate) res_proj: Raw,
    pub(crate) feat_proj: Raw,
    /// To be put side by side.
    pub(crate) head: Vec<Raw>,
}

impl RawProjection {
    /// Reads those of all patch sizes.
    pub(crate) fn read_all(
        config: &Config,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Vec<Self>, CheckpointError> {
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
        let mut heads: Vec<Vec<Raw>> = sizes.iter().map(|_| Vec::new()).collect();
        for leaf in config.output.leaves() {
            let name = format!("param_proj.proj.{}", leaf.name);
            // The mask counts rows, not positions: with several numbers per
            // position it keeps other rows than one would think. The bias of
            // a masked row stays.
            let mask = |size: usize, row: usize, _column: usize| row >= leaf.dim * size;
            let layers = linears(&name, sizes, leaf.dim * patch, width, mask, weights)?;
            heads.iter_mut().zip(layers).for_each(|(head, layer)| head.push(layer));
        }
        let layers = ins.into_iter().zip(residuals).zip(feats).zip(heads);
        let projection =
            |(((in_proj, res_proj), feat_proj), head)| Self { in_proj, res_proj, feat_proj, head };
        Ok(layers.map(projection).collect())
    }
}

impl PatchProjection {
    pub(super) fn load_all(
        config: &Config,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Vec<Self>, CheckpointError> {
        let pack = |raw: RawProjection| Self {
            in_proj: Linear::pack(&[raw.in_proj]),
            res_proj: Linear::pack(&[raw.res_proj]),
            feat_proj: Linear::pack(&[raw.feat_proj]),
            head: Linear::pack(&raw.head),
        };
        Ok(RawProjection::read_all(config, weights)?.into_iter().map(pack).collect())
    }

    pub(super) fn linears(&self) -> [&Linear; 4] {
        [&self.in_proj, &self.res_proj, &self.feat_proj, &self.head]
    }

    pub(super) fn embed(&self, scaled: &Tensor, probe: &mut Probe<'_>) -> Result<Tensor> {
        let hidden = self.in_proj.forward(scaled)?;
        probe.see_tensor(Stage::InProjection, &hidden);
        let hidden = silu(&hidden)?;
        let feature = self.feat_proj.forward(&hidden)?;
        drop(hidden);
        probe.see_tensor(Stage::FeatureProjection, &feature);
        let residual = self.res_proj.forward(scaled)?;
        probe.see_tensor(Stage::ResidualProjection, &residual);
        let embedded = feature.apply_op2_no_bwd(&residual, &Add)?;
        probe.see_tensor(Stage::EncoderIn, &embedded);
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
) -> std::result::Result<Vec<Raw>, CheckpointError> {
    let mut all = weights.numbers(&format!("{name}.weight"), &[sizes.len(), outputs, inputs])?;
    let biases = weights.numbers(&format!("{name}.bias"), &[sizes.len(), outputs])?;
    for (matrix, &size) in all.chunks_exact_mut(outputs * inputs).zip(sizes) {
        for (index, weight) in matrix.iter_mut().enumerate() {
            if masked(size, index / inputs, index % inputs) {
                *weight = 0.0;
            }
        }
    }
    let layers = all.chunks_exact(outputs * inputs).zip(biases.chunks_exact(outputs));
    let raw = |(weight, bias): (&[f32], &[f32])| Raw {
        inputs,
        weight: weight.to_vec(),
        bias: bias.to_vec(),
    };
    Ok(layers.map(raw).collect())
}

/// A linear layer as it is stored, the weight `[outputs, inputs]`.
pub(crate) struct Raw {
    pub(crate) inputs: usize,
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// `x weight + bias`.
#[derive(Debug)]
pub(super) struct Linear {
    weight: Packed,
    bias: Vec<f32>,
}

impl Linear {
    /// Puts layers of the same inputs side by side. These are small and are
    /// kept as f32 however they are stored.
    fn pack(layers: &[Raw]) -> Self {
        let inputs = layers.first().map_or(1, |layer| layer.inputs);
        let outputs: Vec<&[f32]> =
            layers.iter().flat_map(|layer| layer.weight.chunks_exact(inputs)).collect();
        Self {
            weight: Packed::new(&outputs, inputs, Precision::F32),
            bias: layers.iter().flat_map(|layer| layer.bias.iter().copied()).collect(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.weight.bytes()
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.apply_op1_no_bwd(&self)
    }
}

impl CustomOp1 for &Linear {
    fn name(&self) -> &'static str {
        "linear-rows"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, inner) = layout.shape().dims2()?;
        if inner != self.weight.inner() {
            bail!("{:?} cannot be multiplied by {:?}", layout.shape(), self.weight);
        }
        let mut out = Vec::new();
        let helpers = rayon::current_num_threads() - 1;
        linear(numbers(x, layout)?, &self.weight, Some(&self.bias), helpers, &mut out);
        Ok((CpuStorage::F32(out), (rows, self.bias.len()).into()))
    }
}

/// Adds tensors of one shape on the calling thread: candle's own takes all
/// cores of the machine, whatever the model's `threads` says.
struct Add;

impl CustomOp2 for Add {
    fn name(&self) -> &'static str {
        "add-rows"
    }

    fn cpu_fwd(
        &self,
        left: &CpuStorage,
        left_layout: &Layout,
        right: &CpuStorage,
        right_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let mut sum = numbers(left, left_layout)?.to_vec();
        add_to(&mut sum, numbers(right, right_layout)?);
        Ok((CpuStorage::F32(sum), left_layout.shape().clone()))
    }
}

/// Returns the numbers of a contiguous f32 tensor.
fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (CpuStorage::F32(data), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
        bail!("a contiguous f32 tensor is needed, not {:?}", layout.shape());
    };
    Ok(&data[start..end])
}
