//! `module_forward.safetensors`: one forward pass on hand-packed rows, tensor
//! by tensor.

use super::forward::{Input, Output, forward};
use super::golden::Golden;
use super::{Recorder, VerifyError, differing, largest, largest_error};
use crate::distribution::{Component, Position};
use crate::model::Stage;
use crate::network::Network;

const ENCODER_TOLERANCE: f64 = 2e-5;
const ENCODER_NOTE: &str = "of the largest value, at least 1";

pub(super) fn check(
    model: &dyn Network,
    golden: &Golden,
    recorder: &mut Recorder<'_>,
) -> Result<(), VerifyError> {
    let target = golden.floats("in.target")?;
    let width = model.config().patch_width;
    if target.shape.len() != 3 || target.dim(2) != width {
        return Err(golden.fail(format!(
            "tensor `in.target` has shape {:?}: expected [rows, tokens, {width}]; do the golden \
             files belong to this model?",
            target.shape
        )));
    }
    let input = Input {
        rows: target.dim(0),
        tokens: target.dim(1),
        target: target.data.iter().copied().map(f64::from).collect(),
        observed: golden.flags("in.observed_mask")?.data,
        sample_id: golden.whole("in.sample_id")?.data,
        time_id: golden.whole("in.time_id")?.data,
        variate_id: golden.whole("in.variate_id")?.data,
        patch_size: golden.whole("in.patch_size")?.data,
        prediction_mask: golden.flags("in.prediction_mask")?.data,
    };
    let output = forward(model, &input).map_err(|error| golden.model_error(error))?;
    scaler(golden, &output, recorder)?;
    if golden.has("attn_mask") {
        let reference = golden.flags("attn_mask")?;
        let differing = differing(&output.attention_mask, &reference.data);
        recorder.equal("attn_mask", differing, "places that differ");
    }
    encoder(model, golden, &output, recorder)?;
    parameters(model, golden, &output, recorder)?;
    distribution(model, golden, &output, recorder)
}

/// Compares location and scale, relative to the reference.
fn scaler(
    golden: &Golden,
    output: &Output,
    recorder: &mut Recorder<'_>,
) -> Result<(), VerifyError> {
    let location: Vec<f32> = output.scalings.iter().map(|it| it.location as f32).collect();
    let scale: Vec<f32> = output.scalings.iter().map(|it| it.scale as f32).collect();
    for (name, found) in [("loc", location), ("scale", scale)] {
        if let Some(reference) = golden.optional_floats(name)? {
            let unit = |index: usize| f64::from(reference.data[index]).abs();
            let error = largest_error(&found, &reference.data, unit);
            recorder.compared(name, error, 1e-6, "relative");
        }
    }
    Ok(())
}

fn encoder(
    model: &dyn Network,
    golden: &Golden,
    output: &Output,
    recorder: &mut Recorder<'_>,
) -> Result<(), VerifyError> {
    let mut compare = |name: &str, found: Option<&Vec<f32>>| -> Result<(), VerifyError> {
        if let (Some(reference), Some(found)) = (golden.optional_floats(name)?, found) {
            let unit = largest(&reference.data).max(1.0);
            let error = largest_error(found, &reference.data, |_| unit);
            recorder.compared(name, error, ENCODER_TOLERANCE, ENCODER_NOTE);
        }
        Ok(())
    };
    compare("scaled_target", Some(&output.scaled))?;
    for (name, stage) in [
        ("in_proj", Stage::InProjection),
        ("feat_proj", Stage::FeatureProjection),
        ("res_proj", Stage::ResidualProjection),
        ("encoder_in", Stage::EncoderIn),
    ] {
        compare(name, output.stages.get(&stage))?;
    }
    for layer in 0..model.config().layers {
        for (name, stage) in [
            ("norm1", Stage::Norm1(layer)),
            ("attn_out", Stage::Attention(layer)),
            ("ffn_in", Stage::Norm2(layer)),
            ("gate_dist", Stage::Distances(layer)),
            ("expert_weights", Stage::ExpertWeights(layer)),
            ("ffn_out", Stage::FeedForward(layer)),
            ("out", Stage::LayerOut(layer)),
        ] {
            compare(&format!("layer{layer}.{name}"), output.stages.get(&stage))?;
        }
    }
    compare("encoder_out", output.stages.get(&Stage::EncoderOut))?;
    for layer in 0..model.config().layers {
        let name = format!("layer{layer}.experts");
        if golden.has(&name) {
            let reference = golden.whole(&name)?;
            let found = output.experts.get(&layer).map_or(&[][..], Vec::as_slice);
            let differing = differing(&sets(found), &sets(&reference.data));
            recorder.equal(&name, differing, "tokens with another set of experts");
        }
    }
    Ok(())
}

fn sets(pairs: &[u32]) -> Vec<[u32; 2]> {
    let sorted = |&[a, b]: &[u32; 2]| [a.min(b), a.max(b)];
    pairs.as_chunks::<2>().0.iter().map(sorted).collect()
}

/// Returns the golden files' name of a component.
pub(super) fn golden_name(component: &Component) -> &'static str {
    match component {
        Component::StudentT => "student_t",
        Component::Normal => "normal",
        Component::NormalFixedScale { .. } => "normal_fixed",
        Component::NegativeBinomial => "neg_binomial",
        Component::LogNormal => "log_normal",
        Component::Laplace => "laplace",
        Component::LaplaceFixedScale { .. } => "laplace_fixed",
        Component::Pareto => "pareto",
        Component::ParetoFixedAlpha { .. } => "pareto_fixed",
    }
}

/// Calls `visit` with every position of every token.
fn each_position(model: &dyn Network, output: &Output, mut visit: impl FnMut(usize, Position<'_>)) {
    let width = model.config().patch_width;
    let distribution = &model.config().output;
    let rows = output.head.chunks_exact(distribution.width() * width);
    for (token, row) in rows.enumerate() {
        for position in 0..width {
            visit(token, Position::new(distribution, row, width, position));
        }
    }
}

fn parameters(
    model: &dyn Network,
    golden: &Golden,
    output: &Output,
    recorder: &mut Recorder<'_>,
) -> Result<(), VerifyError> {
    let components = model.config().output.components();
    let mut compare = |name: &str, found: &[f32]| -> Result<(), VerifyError> {
        if let Some(reference) = golden.optional_floats(name)? {
            let unit = largest(&reference.data).max(1.0);
            let error = largest_error(found, &reference.data, |_| unit);
            recorder.compared(name, error, ENCODER_TOLERANCE, ENCODER_NOTE);
        }
        Ok(())
    };
    let mut logits = Vec::new();
    each_position(model, output, |_, position| {
        logits.extend((0..components.len()).map(|component| position.logit(component)));
    });
    compare("param.weights_logits", &logits)?;
    for (index, component) in components.iter().enumerate() {
        let name = golden_name(component);
        // A fixed parameter is in some files, as a constant.
        let fixed = match component {
            Component::NormalFixedScale { .. } | Component::LaplaceFixedScale { .. } => {
                &["scale"][..]
            }
            Component::ParetoFixedAlpha { .. } => &["alpha"][..],
            _ => &[],
        };
        for (place, parameter) in component.parameters().iter().chain(fixed).enumerate() {
            let mut found = Vec::new();
            each_position(model, output, |_, position| {
                found.push(position.parameters(index)[place] as f32);
            });
            let name = format!("param.{name}.{parameter}");
            if let Some(reference) = golden.optional_floats(&name)?
                && reference.data.len() == 1
            {
                found.truncate(1);
            }
            compare(&name, &found)?;
        }
    }
    Ok(())
}

fn distribution(
    model: &dyn Network,
    golden: &Golden,
    output: &Output,
    recorder: &mut Recorder<'_>,
) -> Result<(), VerifyError> {
    let width = model.config().patch_width;
    let scale = |index: usize| output.scalings[index / width].scale;
    let (mut mean, mut variance) = (Vec::new(), Vec::new());
    each_position(model, output, |token, position| {
        let scaling = output.scalings[token];
        let (location, scale) = (scaling.location, scaling.scale);
        mean.push((location + scale * position.mean()) as f32);
        variance.push((scale * scale * position.variance()) as f32);
    });
    if let Some(reference) = golden.optional_floats("mean")? {
        let unit = in_scale_units(&reference.data, output, width);
        let error = largest_error(&mean, &reference.data, unit);
        recorder.compared("mean", error, MEAN_TOLERANCE, MEAN_NOTE);
    }
    if let Some(reference) = golden.optional_floats("variance")? {
        // The variance of Student's t goes to infinity as its degrees of
        // freedom go to 2, and the log-normal's is an exponential: rounding
        // of the parameters is amplified.
        let unit = |index: usize| scale(index).powi(2).max(f64::from(reference.data[index]).abs());
        let error = largest_error(&variance, &reference.data, unit);
        recorder.compared("variance", error, 2e-3, "squared scale units, relative if above 1");
    }
    if golden.has("log_prob") && golden.has("logprob_points") {
        let (points, reference) = (golden.floats("logprob_points")?, golden.floats("log_prob")?);
        let mut found = Vec::with_capacity(points.data.len());
        for point in 0..points.dim(0) {
            let points = points.slice(point);
            let mut index = 0;
            each_position(model, output, |token, position| {
                let scaling = output.scalings[token];
                let z = (f64::from(points[index]) - scaling.location) / scaling.scale;
                let density = position.log_density(f64::from(z as f32));
                found.push((density - scaling.scale.ln()) as f32);
                index += 1;
            });
        }
        let unit = |index: usize| 1.0 + f64::from(reference.data[index]).abs();
        let error = largest_error(&found, &reference.data, unit);
        recorder.compared("log_prob", error, 2e-3, "of 1 + |reference|");
    }
    Ok(())
}

/// The tolerance of a mean.
pub(super) const MEAN_TOLERANCE: f64 = 1e-5;

/// What [`in_scale_units`] compares in.
pub(super) const MEAN_NOTE: &str = "scale units, of the value if above 1, and f32 rounding";

/// Returns the unit in which means are compared: the scale, or the distance
/// from the location where that is larger; and so much more that two units in
/// the last place of the reference are within the tolerance, for a series far
/// from zero has no finer means in f32.
pub(super) fn in_scale_units<'a>(
    reference: &'a [f32],
    output: &'a Output,
    width: usize,
) -> impl Fn(usize) -> f64 + 'a {
    move |index| {
        let scaling = output.scalings[index / width];
        let off = (f64::from(reference[index]) - scaling.location).abs();
        let rounding = 2.0 * f64::from(f32::EPSILON) * f64::from(reference[index]).abs();
        off.max(scaling.scale) + rounding / MEAN_TOLERANCE
    }
}
