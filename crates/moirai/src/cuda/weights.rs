//! A checkpoint's tensors, laid out for the kernels and uploaded.

use half::{bf16, f16};
use rayon::prelude::*;
use tidecast_forecast::LoadError;

use super::buffer::{Buffer, Pointer};
use super::gpu::{CudaError, Gpu, Result};
use super::launch::{
    BLOCK_COLUMNS, Finish, INNER_STEP, MOST_EXPERTS, MOST_WIDTH, Operand, Product, linear,
};
use crate::config::Config;
use crate::error::CheckpointError;
use crate::model::RawProjection;
use crate::precision::Precision;
use crate::provider::MAX_SERIES_TOKENS;
use crate::rows::Rotary;
use crate::weights::{Stored, Weights, matrices};

/// A linear layer on the card.
#[derive(Debug)]
pub(super) struct Linear {
    weights: Buffer<u8>,
    bias: Option<Buffer<f32>>,
    pub(super) operands: Precision,
    pub(super) columns: usize,
    /// With filling: the length of a row it multiplies.
    pub(super) inner: usize,
}

impl Linear {
    /// Uploads weights given as one slice of numbers for each output.
    fn new(
        gpu: &Gpu,
        outputs: &[&[f32]],
        bias: Option<&[f32]>,
        operands: Precision,
    ) -> Result<Self> {
        let inner = outputs.first().map_or(0, |row| row.len()).next_multiple_of(INNER_STEP);
        Ok(Self {
            weights: upload(gpu, &[padded(outputs, inner)], operands)?,
            bias: bias.map(|bias| Buffer::from(gpu, bias)).transpose()?,
            operands,
            columns: outputs.len(),
            inner,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.weights.bytes() + self.bias.as_ref().map_or(0, Buffer::bytes)
    }

    /// Multiplies rows, `[rows, inner]`, into rows `stride` numbers apart.
    pub(super) fn forward(
        &self,
        gpu: &Gpu,
        rows: usize,
        a: Pointer<Operand>,
        finish: Finish,
        out: Pointer<Operand>,
        stride: usize,
    ) -> Result<()> {
        linear(gpu, self.operands, finish, self.product(rows, a, out, stride))
    }

    /// Returns the product's parameters.
    pub(super) fn product(
        &self,
        rows: usize,
        a: Pointer<Operand>,
        out: Pointer<Operand>,
        stride: usize,
    ) -> Product {
        Product {
            a,
            weights: self.weights.pointer(),
            bias: self.bias.as_ref().map_or(Pointer::NULL, Buffer::pointer),
            out,
            perm: Pointer::NULL,
            offsets: Pointer::NULL,
            tile_expert: Pointer::NULL,
            tile_row: Pointer::NULL,
            pair_weight: Pointer::NULL,
            rows: rows as i32,
            columns: self.columns as i32,
            inner: self.inner as i32,
            stride: stride as i32,
            padded: self.columns.next_multiple_of(BLOCK_COLUMNS) as i32,
        }
    }
}

/// The experts of a layer.
#[derive(Debug)]
pub(super) struct Experts {
    /// Gates and values of hidden units in turns of eight.
    pub(super) gate_up: Buffer<u8>,
    pub(super) down: Buffer<u8>,
    /// `[width, experts to 32]`, times the weight of the norm before.
    pub(super) centroids: Buffer<f32>,
    /// Squared lengths of the centroids.
    pub(super) squared: Buffer<f32>,
    /// Pairs each expert got since the model was loaded.
    pub(super) usage: Buffer<u64>,
    pub(super) count: usize,
    /// Hidden units with filling.
    pub(super) hidden: usize,
}

/// One layer.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) norm1: Buffer<f32>,
    pub(super) norm2: Buffer<f32>,
    /// Queries, keys and values side by side.
    pub(super) qkv: Linear,
    /// With the factor of the scores.
    pub(super) query_norm: Buffer<f32>,
    pub(super) key_norm: Buffer<f32>,
    /// By head: another variate, the same variate.
    pub(super) bias: Buffer<f32>,
    pub(super) out: Linear,
    pub(super) experts: Experts,
}

impl Layer {
    pub(super) fn bytes(&self) -> usize {
        let experts = &self.experts;
        self.qkv.bytes()
            + self.out.bytes()
            + experts.gate_up.bytes()
            + experts.down.bytes()
            + experts.centroids.bytes()
    }
}

/// The layers of one patch size.
#[derive(Debug)]
pub(super) struct PatchLayers {
    pub(super) in_proj: Linear,
    pub(super) feat_proj: Linear,
    pub(super) res_proj: Linear,
    pub(super) head: Linear,
}

/// Everything.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) layers: Vec<Layer>,
    pub(super) norm: Buffer<f32>,
    pub(super) projections: Vec<PatchLayers>,
    /// Cosine and sine of the rotary embedding, `[times, pairs, 2]`.
    pub(super) turns: Buffer<f32>,
    /// How activations are kept between products.
    pub(super) operands: Precision,
    pub(super) experts: usize,
}

impl Network {
    pub(super) fn load(
        gpu: &Gpu,
        config: &Config,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Self, CheckpointError> {
        let device = format!("cuda:{}", gpu.ordinal());
        let fail = |error: CudaError| -> CheckpointError {
            let reason = match &error {
                CudaError::OutOfMemory => match gpu.memory() {
                    Ok((free, all)) => format!(
                        "the weights do not fit its memory: {} MiB of {} are free",
                        free >> 20,
                        all >> 20
                    ),
                    Err(_) => "the weights do not fit its memory".to_owned(),
                },
                CudaError::Driver(_) => error.to_string(),
            };
            LoadError::Device { device: device.clone(), reason }.into()
        };
        let width = config.d_model;
        let experts = weights.shape("encoder.centroid")?.get(1).copied().unwrap_or(0).max(2);
        for (what, found, most, multiple) in
            [("d_model", width, MOST_WIDTH, 64), ("number of experts", experts, MOST_EXPERTS, 1)]
        {
            if found > most || found % multiple != 0 {
                let reason = format!(
                    "the checkpoint's {what} is {found}: the kernels take multiples of \
                     {multiple} up to {most}; use `cpu`"
                );
                return Err(LoadError::Device { device: device.clone(), reason }.into());
            }
        }
        let centroids = weights.numbers("encoder.centroid", &[config.layers, experts, width])?;
        let mut operands = None;
        let mut layers = Vec::with_capacity(config.layers);
        for (index, centroids) in centroids.chunks_exact(experts * width).enumerate() {
            let raw = RawLayer::read(index, config, experts, weights)?;
            let operands = *operands.get_or_insert(raw.operands);
            layers.push(raw.upload(gpu, config, centroids, operands).map_err(fail)?);
        }
        let operands = operands.unwrap_or(Precision::F32);
        let norm = Buffer::from(gpu, &weights.numbers("encoder.norm.weight", &[width])?);
        let mut projections = Vec::new();
        for raw in RawProjection::read_all(config, weights)? {
            projections.push(upload_projection(gpu, &raw, operands).map_err(fail)?);
        }
        let norm = norm.map_err(fail)?;
        let times: Vec<u32> = (0..=MAX_SERIES_TOKENS as u32).collect();
        let rotary = Rotary::new(&times, config.head_dim);
        let turns: Vec<f32> =
            rotary.cos.iter().zip(&rotary.sin).flat_map(|(&c, &s)| [c, s]).collect();
        let turns = Buffer::from(gpu, &turns).map_err(fail)?;
        gpu.synchronize().map_err(fail)?;
        Ok(Self { layers, norm, projections, turns, operands, experts })
    }

    pub(super) fn bytes(&self) -> usize {
        let layers: usize = self.layers.iter().map(Layer::bytes).sum();
        let of = |p: &PatchLayers| {
            p.in_proj.bytes() + p.feat_proj.bytes() + p.res_proj.bytes() + p.head.bytes()
        };
        layers + self.projections.iter().map(of).sum::<usize>()
    }
}

fn upload_projection(gpu: &Gpu, raw: &RawProjection, operands: Precision) -> Result<PatchLayers> {
    let linear = |layers: &[&crate::model::Raw], operands| {
        let outputs: Vec<&[f32]> =
            layers.iter().flat_map(|raw| raw.weight.chunks_exact(raw.inputs)).collect();
        let bias: Vec<f32> = layers.iter().flat_map(|raw| raw.bias.iter().copied()).collect();
        Linear::new(gpu, &outputs, Some(&bias), operands)
    };
    // What patches go in through and distributions come out of stays f32: it is
    // little, and errors there are errors of the forecast.
    Ok(PatchLayers {
        in_proj: linear(&[&raw.in_proj], Precision::F32)?,
        feat_proj: linear(&[&raw.feat_proj], operands)?,
        res_proj: linear(&[&raw.res_proj], Precision::F32)?,
        head: linear(&raw.head.iter().collect::<Vec<_>>(), Precision::F32)?,
    })
}

/// A layer's tensors, read.
struct RawLayer {
    norms: [Vec<f32>; 4],
    bias: Vec<f32>,
    qkv: Vec<Vec<f32>>,
    out: Vec<f32>,
    /// Gate, up and down of each expert.
    experts: Vec<[Vec<f32>; 3]>,
    operands: Precision,
}

impl RawLayer {
    fn read(
        index: usize,
        config: &Config,
        experts: usize,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Self, CheckpointError> {
        let (width, hidden) = (config.d_model, config.d_ff);
        let prefix = format!("encoder.layers.{index}");
        let mut numbers = |name: &str, shape: &[usize]| {
            weights.numbers(&format!("{prefix}.{name}.weight"), shape)
        };
        let norms = [
            numbers("norm1", &[width])?,
            numbers("norm2", &[width])?,
            numbers("self_attn.q_norm", &[config.head_dim])?,
            numbers("self_attn.k_norm", &[config.head_dim])?,
        ];
        let bias = numbers("self_attn.var_attn_bias.emb", &[2, config.heads])?;
        let mut take = |name: &str, shape: [usize; 2]| {
            weights.take(&format!("{prefix}.{name}.weight"), &shape)
        };
        let mut stored = Vec::with_capacity(4);
        for name in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            stored.push(take(&format!("self_attn.{name}"), [width, width])?);
        }
        let (mut qkv, operands) = matrices(&stored)?;
        let out = qkv.pop().unwrap_or_default();
        let mut stored: Vec<[Stored<'_>; 3]> = Vec::with_capacity(experts);
        for expert in 0..experts {
            let mut take = |name: &str, shape| take(&format!("ffn.experts.{expert}.{name}"), shape);
            stored.push([
                take("fc_gate", [hidden, width])?,
                take("fc1", [hidden, width])?,
                take("fc2", [width, hidden])?,
            ]);
        }
        let read =
            |stored: &[Stored<'_>; 3]| -> std::result::Result<[Vec<f32>; 3], CheckpointError> {
                let mut numbers = matrices(stored)?.0.into_iter();
                Ok([(); 3].map(|()| numbers.next().unwrap_or_default()))
            };
        let experts = stored.par_iter().map(read).collect::<std::result::Result<_, _>>()?;
        Ok(Self { norms, bias, qkv, out, experts, operands })
    }

    fn upload(
        &self,
        gpu: &Gpu,
        config: &Config,
        centroids: &[f32],
        operands: Precision,
    ) -> Result<Layer> {
        let width = config.d_model;
        let [norm1, norm2, query_norm, key_norm] = &self.norms;
        let factor = 1.0 / (config.head_dim as f32).sqrt();
        let query_norm: Vec<f32> = query_norm.iter().map(|weight| weight * factor).collect();
        let (other, same) = self.bias.split_at(config.heads);
        let bias: Vec<f32> = other.iter().zip(same).flat_map(|(&a, &b)| [a, b]).collect();
        let qkv: Vec<&[f32]> =
            self.qkv.iter().flat_map(|matrix| matrix.chunks_exact(width)).collect();
        let out: Vec<&[f32]> = self.out.chunks_exact(width).collect();
        Ok(Layer {
            norm1: Buffer::from(gpu, norm1)?,
            norm2: Buffer::from(gpu, norm2)?,
            qkv: Linear::new(gpu, &qkv, None, operands)?,
            query_norm: Buffer::from(gpu, &query_norm)?,
            key_norm: Buffer::from(gpu, key_norm)?,
            bias: Buffer::from(gpu, &bias)?,
            out: Linear::new(gpu, &out, None, operands)?,
            experts: self.upload_experts(gpu, config, centroids, operands)?,
        })
    }

    fn upload_experts(
        &self,
        gpu: &Gpu,
        config: &Config,
        centroids: &[f32],
        operands: Precision,
    ) -> Result<Experts> {
        const TURN: usize = 8;
        let (width, count) = (config.d_model, self.experts.len());
        let hidden = config.d_ff.next_multiple_of(INNER_STEP);
        let zeros = vec![0f32; width];
        let gate_up: Vec<Vec<f32>> = self
            .experts
            .par_iter()
            .map(|[gate, up, _]| {
                let mut rows: Vec<&[f32]> = Vec::with_capacity(2 * hidden);
                for first in (0..hidden).step_by(TURN) {
                    for weights in [gate, up] {
                        rows.extend((first..first + TURN).map(|unit| {
                            weights.get(unit * width..(unit + 1) * width).unwrap_or(&zeros)
                        }));
                    }
                }
                padded(&rows, width.next_multiple_of(INNER_STEP))
            })
            .collect();
        let down: Vec<Vec<f32>> = self
            .experts
            .par_iter()
            .map(|[_, _, down]| {
                let rows: Vec<&[f32]> = down.chunks_exact(config.d_ff).collect();
                padded(&rows, hidden)
            })
            .collect();
        let slots = count.next_multiple_of(32);
        let mut turned = vec![0f32; width * slots];
        let mut squared = vec![0f32; count];
        for (expert, centroid) in centroids.chunks_exact(width).enumerate() {
            squared[expert] = centroid.iter().map(|number| number * number).sum();
            let rows = turned.chunks_exact_mut(slots);
            for ((row, &number), &weight) in rows.zip(centroid).zip(&self.norms[1]) {
                row[expert] = number * weight;
            }
        }
        Ok(Experts {
            gate_up: upload(gpu, &gate_up, operands)?,
            down: upload(gpu, &down, operands)?,
            centroids: Buffer::from(gpu, &turned)?,
            squared: Buffer::from(gpu, &squared)?,
            usage: Buffer::zeros(gpu, count)?,
            count,
            hidden,
        })
    }
}

/// Fills rows up with zeros to `inner` numbers, and their count to whole blocks.
fn padded(rows: &[&[f32]], inner: usize) -> Vec<f32> {
    let mut all = vec![0f32; rows.len().next_multiple_of(BLOCK_COLUMNS) * inner];
    for (to, row) in all.chunks_exact_mut(inner).zip(rows) {
        to[..row.len()].copy_from_slice(row);
    }
    all
}

/// Uploads matrices one after the other, as numbers of this precision.
fn upload(gpu: &Gpu, matrices: &[Vec<f32>], precision: Precision) -> Result<Buffer<u8>> {
    fn bytes<const N: usize>(
        matrices: &[Vec<f32>],
        number: impl Fn(f32) -> [u8; N] + Sync,
    ) -> Vec<u8> {
        let parts: Vec<Vec<u8>> = matrices
            .par_iter()
            .map(|matrix| matrix.iter().flat_map(|&value| number(value)).collect())
            .collect();
        parts.concat()
    }
    let bytes = match precision {
        Precision::F32 => bytes(matrices, f32::to_le_bytes),
        Precision::F16 => bytes(matrices, |value| f16::from_f32(value).to_le_bytes()),
        Precision::Bf16 => bytes(matrices, |value| bf16::from_f32(value).to_le_bytes()),
    };
    Buffer::from(gpu, &bytes)
}
