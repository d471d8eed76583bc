//! `sampler.safetensors`: mixtures with known means and quantiles.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::golden::{Array, Golden};
use super::module_forward::golden_name;
use super::{Recorder, VerifyError, largest, largest_error};
use crate::distribution::{DistributionOutput, Position};
use crate::network::Network;

/// Draws from each mixture.
const DRAWS: usize = 400_000;

/// How many standard errors a quantile may be off. With a few hundred
/// comparisons a right sampler fails one time in some thousands, and the seed
/// is fixed; with these draws 5 standard errors are less than 0.5 % of
/// probability, so a component with a wrong weight, location or scale is seen.
const STANDARD_ERRORS: f64 = 5.0;

pub(super) fn check(
    model: &dyn Network,
    golden: &Golden,
    reference_draws: u64,
    recorder: &mut Recorder<'_>,
) -> Result<(), VerifyError> {
    let output = &model.config().output;
    let Some(rows) = head_rows(output, golden, recorder)? else { return Ok(()) };
    let positions: Vec<Position<'_>> =
        rows.iter().map(|row| Position::new(output, row, 1, 0)).collect();
    for (index, component) in output.components().iter().enumerate() {
        for (place, parameter) in component.parameters().iter().enumerate() {
            let name = format!("param.{}.{parameter}", golden_name(component));
            if let Some(reference) = golden.optional_floats(&name)? {
                let parameter = |position: &Position<'_>| position.parameters(index)[place] as f32;
                let found: Vec<f32> = positions.iter().map(parameter).collect();
                let unit = largest(&reference.data).max(1.0);
                let error = largest_error(&found, &reference.data, |_| unit);
                recorder.compared(&name, error, 2e-5, "of the largest value, at least 1");
            }
        }
    }
    let (location, scale) = (golden.floats("loc")?, golden.floats("scale")?);
    if location.data.len() != positions.len() || scale.data.len() != positions.len() {
        return Err(golden.fail(format!("`loc` and `scale` need `{}` numbers", positions.len())));
    }
    if let Some(reference) = golden.optional_floats("mean")? {
        let mean = |(index, position): (usize, &Position<'_>)| {
            let (location, scale) = (location.data[index], scale.data[index]);
            (f64::from(location) + f64::from(scale) * position.mean()) as f32
        };
        let found: Vec<f32> = positions.iter().enumerate().map(mean).collect();
        let unit = |index: usize| {
            let off = (reference.data[index] - location.data[index]).abs();
            f64::from(off.max(scale.data[index]))
        };
        let error = largest_error(&found, &reference.data, unit);
        recorder.compared("mean", error, 1e-5, "scale units, of the value if above 1");
    }
    let (levels, quantiles) = (golden.floats("quantile_levels")?, golden.floats("quantiles")?);
    if quantiles.data.len() != levels.data.len() * positions.len() {
        return Err(golden.fail("`quantiles` is not [levels, mixtures]".to_owned()));
    }
    let mut worst: f64 = 0.0;
    for (index, position) in positions.iter().enumerate() {
        let mut random = ChaCha8Rng::seed_from_u64(index as u64);
        let (location, scale) = (f64::from(location.data[index]), f64::from(scale.data[index]));
        let draws: Vec<f32> =
            (0..DRAWS).map(|_| (location + scale * position.sample(&mut random)) as f32).collect();
        for (row, &level) in levels.data.iter().enumerate() {
            let reference = quantiles.data[row * positions.len() + index];
            let off = standard_errors(&draws, reference, f64::from(level), reference_draws);
            worst = if off.is_nan() { off } else { worst.max(off) };
        }
    }
    let note = format!(
        "standard errors of the probability below a reference quantile, {DRAWS} draws a mixture"
    );
    recorder.compared("quantiles", worst, STANDARD_ERRORS, &note);
    Ok(())
}

/// Returns by how many standard errors the share of draws below the reference
/// quantile misses its level; both sides are estimates. A level anywhere
/// within the mass at the quantile is no miss.
fn standard_errors(draws: &[f32], quantile: f32, level: f64, reference_draws: u64) -> f64 {
    let rounding = 2.0 * f32::EPSILON * quantile.abs();
    let count = draws.len() as f64;
    let below = draws.iter().filter(|&&draw| draw < quantile - rounding).count() as f64 / count;
    let up_to = draws.iter().filter(|&&draw| draw <= quantile + rounding).count() as f64 / count;
    let miss = (below - level).max(level - up_to).max(0.0);
    let variance = level * (1.0 - level) * (1.0 / count + 1.0 / reference_draws as f64);
    miss / variance.sqrt()
}

/// Returns one head row of patch width 1 for each mixture of the file.
fn head_rows(
    output: &DistributionOutput,
    golden: &Golden,
    recorder: &mut Recorder<'_>,
) -> Result<Option<Vec<Vec<f32>>>, VerifyError> {
    let mut names = Vec::new();
    if matches!(output, DistributionOutput::Mixture(_)) {
        names.push("raw.weights_logits".to_owned());
    }
    for component in output.components() {
        let name = |parameter| format!("raw.{}.{parameter}", golden_name(component));
        names.extend(component.parameters().iter().map(name));
    }
    if let Some(missing) = names.iter().find(|name| !golden.has(name)) {
        let reason = format!("the file has no `{missing}`, which the model's mixture has");
        recorder.unsupported("quantiles", reason);
        return Ok(None);
    }
    let columns: Vec<Array<f32>> =
        names.iter().map(|name| golden.floats(name)).collect::<Result<_, _>>()?;
    let mixtures = columns.first().map_or(0, |column| column.dim(0));
    let row = |index: usize| {
        columns.iter().flat_map(|column| column.slice(index).iter().copied()).collect()
    };
    let rows: Vec<Vec<f32>> = (0..mixtures).map(row).collect();
    if rows.iter().any(|row| row.len() != output.width()) {
        return Err(golden.fail("the raw parameters do not fit the model's mixture".to_owned()));
    }
    Ok(Some(rows))
}
