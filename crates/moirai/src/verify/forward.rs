//! One forward pass over packed rows, without the rollouts' shortcuts: every
//! token, several samples in a row, several patch sizes.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor};

use crate::model::{Probe, Stage};
use crate::network::Network;
use crate::rows::{RowLayout, Rows};
use crate::scaler::{Floor, Scaling, moments_by_group};

/// Packed rows, `[rows, tokens]`, patches `[rows, tokens, patch_width]`.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) rows: usize,
    pub(super) tokens: usize,
    pub(super) target: Vec<f64>,
    pub(super) observed: Vec<bool>,
    pub(super) sample_id: Vec<u32>,
    pub(super) time_id: Vec<u32>,
    pub(super) variate_id: Vec<u32>,
    pub(super) patch_size: Vec<u32>,
    pub(super) prediction_mask: Vec<bool>,
}

/// What a forward pass gives.
pub(super) struct Output {
    /// Per token.
    pub(super) scalings: Vec<Scaling>,
    /// `[rows, tokens, patch_width]`.
    pub(super) scaled: Vec<f32>,
    /// `[rows, tokens, tokens]`: may the first attend to the second?
    pub(super) attention_mask: Vec<bool>,
    /// The tensors on the way, flat.
    pub(super) stages: BTreeMap<Stage, Vec<f32>>,
    pub(super) experts: BTreeMap<usize, Vec<u32>>,
    /// The head's rows, `[rows, tokens, output width * patch_width]`.
    pub(super) head: Vec<f32>,
}

pub(super) fn forward(model: &dyn Network, input: &Input) -> Result<Output> {
    let device = Device::Cpu;
    let width = model.config().patch_width;
    let all = input.rows * input.tokens;
    let scalings = scalings(model, input);
    let scaled: Vec<f32> = input
        .target
        .chunks_exact(width)
        .zip(&scalings)
        .flat_map(|(patch, scaling)| patch.iter().map(|&value| scaling.apply(value)))
        .collect();
    let (mut stages, mut experts) = (BTreeMap::new(), BTreeMap::new());
    let mut failed = None;
    let mut see = |stage: Stage, tensor: &Tensor| {
        let flat = tensor.flatten_all();
        let kept = match stage {
            Stage::Experts(layer) => flat.and_then(|flat| flat.to_vec1()).map(|values| {
                experts.insert(layer, values);
            }),
            _ => flat.and_then(|flat| flat.to_vec1()).map(|values| {
                stages.insert(stage, values);
            }),
        };
        if let Err(error) = kept {
            failed.get_or_insert(error);
        }
    };
    let patches = Tensor::from_slice(&scaled, (all, width), &device)?;
    let x = by_patch_size(model, input, |index| {
        let mut parts = Vec::new();
        let mut see = |stage: Stage, tensor: &Tensor| parts.push((stage, tensor.clone()));
        model.embed_all(&patches, index, &mut Probe(Some(&mut see)))?;
        Ok(parts)
    })?;
    let mut embedded = None;
    for (stage, tensor) in x {
        see(stage, &tensor);
        if stage == Stage::EncoderIn {
            embedded = Some(tensor);
        }
    }
    let Some(embedded) = embedded else { candle_core::bail!("no token has a patch size") };
    let layouts: Vec<RowLayout> = (0..input.rows).map(|row| layout(input, row)).collect();
    let by_row: Vec<(&RowLayout, usize)> = layouts.iter().map(|layout| (layout, 1)).collect();
    let rows = Rows::new(&by_row);
    let mut attention_mask = Vec::with_capacity(all * input.tokens);
    for group in &rows.groups {
        let sees = group.mask.chunks_exact(group.padded).flat_map(|keys| &keys[..group.length]);
        attention_mask.extend(sees.map(|&value| value == 0.0));
    }
    let encoded = model.encode_all(embedded, &by_row, &mut Probe(Some(&mut see)))?;
    let head = by_patch_size(model, input, |index| {
        Ok(vec![(Stage::EncoderOut, model.head_all(&encoded, index)?)])
    })?;
    let head = match head.first() {
        Some((_, head)) => head.flatten_all()?.to_vec1()?,
        None => Vec::new(),
    };
    if let Some(error) = failed {
        return Err(error);
    }
    Ok(Output { scalings, scaled, attention_mask, stages, experts, head })
}

fn layout(input: &Input, row: usize) -> RowLayout {
    let at = row * input.tokens..(row + 1) * input.tokens;
    RowLayout {
        sample: input.sample_id[at.clone()].to_vec(),
        time: input.time_id[at.clone()].to_vec(),
        variate: input.variate_id[at].to_vec(),
    }
}

fn scalings(model: &dyn Network, input: &Input) -> Vec<Scaling> {
    let width = model.config().patch_width;
    let mut all = Vec::with_capacity(input.rows * input.tokens);
    for row in 0..input.rows {
        let start = row * input.tokens;
        let at = start..start + input.tokens;
        let (samples, variates) = (&input.sample_id[at.clone()], &input.variate_id[at]);
        let groups = moments_by_group(samples, variates, |token| {
            let token = start + token;
            let at = token * width..(token + 1) * width;
            let counts = !input.prediction_mask[token];
            let pairs = input.target[at.clone()].iter().zip(&input.observed[at]);
            pairs.filter(move |(_, observed)| **observed && counts).map(|(value, _)| *value)
        });
        all.extend(samples.iter().zip(variates).map(|(&sample, &variate)| {
            match groups.get(&(sample, variate)) {
                Some(moments) if sample != 0 && model.config().scaling => {
                    moments.scaling(moments.floor(Floor::Reference)).of_reference()
                }
                _ => Scaling::NONE,
            }
        }));
    }
    all
}

/// Computes tensors `[tokens, width]` for each patch size and puts them
/// together token by token; a token of an unknown patch size gets zeros, as in
/// the reference.
fn by_patch_size(
    model: &dyn Network,
    input: &Input,
    compute: impl Fn(usize) -> Result<Vec<(Stage, Tensor)>>,
) -> Result<Vec<(Stage, Tensor)>> {
    let mut sum: Vec<(Stage, Tensor)> = Vec::new();
    for (index, &size) in model.config().patch_sizes.iter().enumerate() {
        let of_size = |&own: &u32| own as usize == size;
        if !input.patch_size.iter().any(of_size) {
            continue;
        }
        let mask: Vec<f32> = input.patch_size.iter().map(|own| f32::from(of_size(own))).collect();
        let mask = Tensor::from_vec(mask, (input.patch_size.len(), 1), &Device::Cpu)?;
        for (place, (stage, tensor)) in compute(index)?.into_iter().enumerate() {
            let own = tensor.broadcast_mul(&mask)?;
            match sum.get_mut(place) {
                Some((_, sum)) => *sum = (&*sum + own)?,
                None => sum.push((stage, own)),
            }
        }
    }
    Ok(sum)
}
