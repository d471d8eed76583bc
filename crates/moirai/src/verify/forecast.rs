//! `forecast_*.safetensors`: from raw series to forecasts, with sampling
//! replaced by a rule.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tidecast_forecast::PriorHistory;

use super::forward::{Input, forward};
use super::golden::{Array, ForecastSettings, Golden};
use super::module_forward::{MEAN_NOTE, MEAN_TOLERANCE, in_scale_units};
use super::{Recorder, VerifyError, differing, largest, largest_error};
use crate::distribution::Position;
use crate::imputation::Column;
use crate::network::Network;
use crate::packing::{Columns, PackedRow};
use crate::rollout::cached::Job;
use crate::rollout::{Draw, Fill, Paths, Rolled, Series, exact};
use crate::scaler::{Floor, Scaling};

const ROLLOUT_TOLERANCE: f64 = 1e-5;

/// The file's sizes.
struct Sizes {
    rows: usize,
    context: usize,
    variates: usize,
    horizon: usize,
    paths: usize,
    patch_size: usize,
}

pub(super) fn check(
    model: &dyn Network,
    golden: &Golden,
    settings: &ForecastSettings,
    recorder: &mut Recorder<'_>,
) -> Result<(), VerifyError> {
    let past = golden.floats("in.past_target")?;
    let modes: Vec<&str> = ["mean", "ladder"]
        .into_iter()
        .filter(|mode| golden.has(&format!("{mode}.forecast")))
        .collect();
    let Some(first) = modes.first() else {
        recorder.unsupported("forecast", "the file has no `mean.forecast`".to_owned());
        return Ok(());
    };
    let forecast = golden.floats(&format!("{first}.forecast"))?;
    if past.shape.len() != 3 || forecast.shape.len() < 3 || forecast.dim(0) != past.dim(0) {
        return Err(golden.fail(format!(
            "`in.past_target` {:?} and `{first}.forecast` {:?} do not fit: expected [rows, \
             context, variates] and [rows, paths, horizon, (variates)]",
            past.shape, forecast.shape
        )));
    }
    let mut sizes = Sizes {
        rows: past.dim(0),
        context: past.dim(1),
        variates: past.dim(2),
        horizon: forecast.dim(2),
        paths: forecast.dim(1),
        patch_size: 0,
    };
    let columns =
        (0..sizes.rows).map(|row| columns(golden, &sizes, row)).collect::<Result<Vec<_>, _>>()?;
    imputation(golden, &sizes, &columns, &past, recorder)?;
    let Some(patch_size) = patch_size(model, golden, settings, &sizes, &columns)? else {
        let reason = format!(
            "no patch size of the model ({:?}) gives the packed length; asked for: {:?}",
            model.config().patch_sizes,
            settings.patch_size
        );
        recorder.unsupported("packed", reason);
        return Ok(());
    };
    sizes.patch_size = patch_size;
    let packed: Vec<PackedRow> =
        columns.iter().map(|columns| pack(model, &sizes, columns)).collect();
    packing(golden, &packed, recorder)?;
    for mode in modes {
        let rule =
            Rule { perturbation: if mode == "ladder" { settings.perturbation } else { 0.0 } };
        Rollouts { model, golden, sizes: &sizes, packed: &packed, mode, rule }.check(recorder)?;
    }
    Ok(())
}

/// Fills the gaps of a whole series and cuts the context, padded on the left.
fn columns(golden: &Golden, sizes: &Sizes, row: usize) -> Result<Columns, VerifyError> {
    let target = golden.floats(&format!("raw.{row}.target"))?;
    let steps = target.dim(1);
    let raw = |array: &Array<f32>, fill: &dyn Fn(&[f64]) -> Column| -> Vec<Column> {
        let wide = |index| array.slice(index).iter().copied().map(f64::from).collect::<Vec<_>>();
        (0..array.dim(0)).map(|index| fill(&wide(index))).collect()
    };
    let causal = |values: &[f64]| Column::causal_mean_filled(values, &PriorHistory::default());
    let whole =
        if target.dim(0) == 1 { raw(&target, &causal) } else { raw(&target, &Column::zero_filled) };
    let covariates = |name: &str| -> Result<Vec<Column>, VerifyError> {
        let array = golden.optional_floats(&format!("raw.{row}.{name}"))?;
        Ok(array.map_or(Vec::new(), |array| raw(&array, &Column::zero_filled)))
    };
    let cut = |columns: Vec<Column>, length: usize| -> Vec<Column> {
        columns.iter().map(|column| newest(column, length)).collect()
    };
    let padding = sizes.context.saturating_sub(steps);
    Ok(Columns {
        target: cut(whole, sizes.context),
        future_covariates: cut(covariates("feat_dynamic_real")?, sizes.context + sizes.horizon),
        past_covariates: cut(covariates("past_feat_dynamic_real")?, sizes.context),
        is_pad: (0..sizes.context).map(|step| step < padding).collect(),
    })
}

/// Returns the newest `length` steps, with unobserved zeros before the first.
fn newest(column: &Column, length: usize) -> Column {
    let padding = length.saturating_sub(column.len());
    let start = column.len().saturating_sub(length);
    let mut cut = Column { values: vec![0.0; padding], observed: vec![false; padding] };
    cut.values.extend_from_slice(&column.values[start..]);
    cut.observed.extend_from_slice(&column.observed[start..]);
    cut
}

/// Compares the inputs of the model: filled, cut and padded.
fn imputation(
    golden: &Golden,
    sizes: &Sizes,
    columns: &[Columns],
    past: &Array<f32>,
    recorder: &mut Recorder<'_>,
) -> Result<(), VerifyError> {
    /// Lays columns out as `[rows, steps, columns]`.
    fn laid_out<T: Copy>(
        rows: &[Columns],
        columns: impl Fn(&Columns) -> &Vec<Column>,
        steps: usize,
        field: impl Fn(&Column, usize) -> T,
    ) -> Vec<T> {
        let mut out = Vec::new();
        for row in rows {
            for step in 0..steps {
                out.extend(columns(row).iter().map(|column| field(column, step)));
            }
        }
        out
    }
    let values = |column: &Column, step: usize| column.values[step] as f32;
    let observed = |column: &Column, step: usize| column.observed[step];
    let (context, whole) = (sizes.context, sizes.context + sizes.horizon);
    let found = laid_out(columns, |row| &row.target, context, values);
    recorder.equal("in.past_target", differing(&found, &past.data), "values that differ");
    type Segment = fn(&Columns) -> &Vec<Column>;
    let segments: [(&str, &str, Segment, usize); 3] = [
        ("", "in.past_observed_target", |row| &row.target, context),
        (
            "in.feat_dynamic_real",
            "in.observed_feat_dynamic_real",
            |row| &row.future_covariates,
            whole,
        ),
        (
            "in.past_feat_dynamic_real",
            "in.past_observed_feat_dynamic_real",
            |row| &row.past_covariates,
            context,
        ),
    ];
    for (values_name, observed_name, of, steps) in segments {
        if let Some(reference) = golden.optional_floats(values_name)? {
            let found = laid_out(columns, of, steps, values);
            recorder.equal(values_name, differing(&found, &reference.data), "values that differ");
        }
        if golden.has(observed_name) {
            let reference = golden.flags(observed_name)?;
            let found = laid_out(columns, of, steps, observed);
            recorder.equal(observed_name, differing(&found, &reference.data), "flags that differ");
        }
    }
    if golden.has("in.past_is_pad") {
        let reference = golden.flags("in.past_is_pad")?;
        let found: Vec<bool> = columns.iter().flat_map(|row| row.is_pad.clone()).collect();
        let differing = differing(&found, &reference.data);
        recorder.equal("in.past_is_pad", differing, "flags that differ");
    }
    Ok(())
}

fn pack(model: &dyn Network, sizes: &Sizes, columns: &Columns) -> PackedRow {
    PackedRow::pack(columns, sizes.horizon, sizes.patch_size, model.config().patch_width)
}

/// Returns the patch size of the file: the manifest's, else the one that gives
/// the packed patches.
fn patch_size(
    model: &dyn Network,
    golden: &Golden,
    settings: &ForecastSettings,
    sizes: &Sizes,
    columns: &[Columns],
) -> Result<Option<usize>, VerifyError> {
    if let Some(size) = settings.patch_size {
        return Ok(model.patch_index(size).map(|_| size));
    }
    let packed = golden.optional_floats("packed.target")?;
    let fits = |&size: &usize| match (&packed, columns.first()) {
        (Some(packed), Some(columns)) => {
            let sizes = Sizes { patch_size: size, ..*sizes };
            narrow(&pack(model, &sizes, columns).values) == packed.slice(0)
        }
        _ => true,
    };
    Ok(model.config().patch_sizes.iter().copied().find(|size| fits(size)))
}

/// Returns the numbers as the reference has them.
fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

/// Compares the packed rows.
fn packing(
    golden: &Golden,
    packed: &[PackedRow],
    recorder: &mut Recorder<'_>,
) -> Result<(), VerifyError> {
    fn all<T: Clone>(rows: &[PackedRow], of: impl Fn(&PackedRow) -> &Vec<T>) -> Vec<T> {
        rows.iter().flat_map(|row| of(row).clone()).collect()
    }
    let note = "places that differ";
    if let Some(reference) = golden.optional_floats("packed.target")? {
        let found = narrow(&all(packed, |row| &row.values));
        recorder.equal("packed.target", differing(&found, &reference.data), note);
    }
    type Field<T> = fn(&PackedRow) -> &Vec<T>;
    let flags: [(&str, Field<bool>); 2] = [
        ("packed.observed_mask", |row| &row.observed),
        ("packed.prediction_mask", |row| &row.prediction_mask),
    ];
    for (name, of) in flags {
        if golden.has(name) {
            let differing = differing(&all(packed, of), &golden.flags(name)?.data);
            recorder.equal(name, differing, note);
        }
    }
    let ids: [(&str, Field<u32>); 3] = [
        ("packed.sample_id", |row| &row.sample_id),
        ("packed.time_id", |row| &row.time_id),
        ("packed.variate_id", |row| &row.variate_id),
    ];
    for (name, of) in ids {
        if golden.has(name) {
            let differing = differing(&all(packed, of), &golden.whole(name)?.data);
            recorder.equal(name, differing, note);
        }
    }
    Ok(())
}

/// Instead of a draw: the mean, plus so many scale units times the path.
#[derive(Debug, Clone, Copy)]
struct Rule {
    perturbation: f64,
}

impl Fill for Rule {
    fn fill(&self, draw: &Draw<'_>, patch: &mut [f64], _: &mut [f32]) {
        for (position, value) in patch.iter_mut().enumerate() {
            let row = Position::new(draw.output, draw.row, draw.patch_width, position);
            let z = row.mean() + self.perturbation * draw.path as f64;
            *value = draw.scaling.undo(z);
        }
    }
}

/// The rollouts of one mode.
struct Rollouts<'a> {
    model: &'a dyn Network,
    golden: &'a Golden,
    sizes: &'a Sizes,
    packed: &'a [PackedRow],
    mode: &'a str,
    rule: Rule,
}

/// Scalings by path and step.
type Seen = BTreeMap<(usize, usize), Vec<Scaling>>;

impl Rollouts<'_> {
    fn check(&self, recorder: &mut Recorder<'_>) -> Result<(), VerifyError> {
        let (golden, sizes) = (self.golden, self.sizes);
        let index = self.model.patch_index(sizes.patch_size).unwrap_or(0);
        let series: Vec<Series<'_>> = self
            .packed
            .iter()
            .map(|row| Series::new(row, self.model.config(), Floor::Reference))
            .collect();
        let (mut paths, mut seen) = (Vec::new(), Vec::new());
        for series in &series {
            let scalings: Mutex<Seen> = Mutex::default();
            let observe = |path: usize, step: usize, scaling: &[Scaling]| {
                if let Ok(mut seen) = scalings.lock() {
                    seen.insert((path, step), scaling.to_vec());
                }
            };
            let options = exact::Options { freeze_scale: false, observe: Some(&observe) };
            let rollout =
                exact::rollout(self.model, index, series, sizes.paths, &self.rule, options);
            paths.push(rollout.map_err(|error| golden.model_error(error))?);
            seen.push(scalings.into_inner().unwrap_or_default());
        }
        self.forecast("forecast", &paths, recorder)?;
        let steps = series.first().map_or(0, Series::patches);
        for step in 0..steps {
            self.scalings(step, &seen, recorder)?;
            self.means(step, &paths, recorder)?;
        }
        if steps == 1 {
            let job = |series| Job::paths(series, sizes.paths, &self.rule);
            let jobs: Vec<Job<'_>> = series.iter().map(job).collect();
            let rolled = self.model.roll_out(index, &jobs);
            let rolled = rolled.map_err(|error| golden.model_error(error))?;
            let paths: Vec<Paths> = rolled.into_iter().filter_map(Rolled::into_paths).collect();
            self.forecast("forecast (cached rollout)", &paths, recorder)?;
        }
        Ok(())
    }

    fn forecast(
        &self,
        quantity: &str,
        paths: &[Paths],
        recorder: &mut Recorder<'_>,
    ) -> Result<(), VerifyError> {
        let sizes = self.sizes;
        let reference = self.golden.floats(&format!("{}.forecast", self.mode))?;
        let mut found = Vec::with_capacity(reference.data.len());
        for paths in paths {
            for path in 0..sizes.paths {
                for step in 0..sizes.horizon {
                    let variates = 0..sizes.variates;
                    found.extend(variates.map(|variate| paths.path(path, variate)[step] as f32));
                }
            }
        }
        let unit = largest(&reference.data);
        let error = largest_error(&found, &reference.data, |_| unit);
        let quantity = format!("{}.{quantity}", self.mode);
        recorder.compared(&quantity, error, ROLLOUT_TOLERANCE, "of the largest value");
        Ok(())
    }

    /// Compares location and scale before one forward pass, of all tokens: the
    /// first `[rows, tokens, 1]`, later ones `[paths, rows, tokens, 1]`.
    fn scalings(
        &self,
        step: usize,
        seen: &[Seen],
        recorder: &mut Recorder<'_>,
    ) -> Result<(), VerifyError> {
        type Field = fn(&Scaling) -> f32;
        let fields: [(&str, Field); 2] =
            [("loc", |scaling| scaling.location as f32), ("scale", |scaling| scaling.scale as f32)];
        for (name, field) in fields {
            let name = format!("{}.step{step}.{name}", self.mode);
            let Some(reference) = self.golden.optional_floats(&name)? else { continue };
            let paths = if step == 0 { 1 } else { self.sizes.paths };
            let mut found = Vec::with_capacity(reference.data.len());
            for path in 0..paths {
                for (row, seen) in self.packed.iter().zip(seen) {
                    for (&sample, &variate) in row.sample_id.iter().zip(&row.variate_id) {
                        let seen = seen.get(&(path, step)).and_then(|s| s.get(variate as usize));
                        let scaling = if sample == 0 { Some(&Scaling::NONE) } else { seen };
                        found.push(scaling.map_or(f32::NAN, field));
                    }
                }
            }
            let (tolerance, note) = if step == 0 {
                (1e-6, "relative")
            } else {
                (ROLLOUT_TOLERANCE, "relative; holds values of the rollout")
            };
            let unit = |index: usize| f64::from(reference.data[index]).abs();
            let error = largest_error(&found, &reference.data, unit);
            recorder.compared(&name, error, tolerance, note);
        }
        Ok(())
    }

    /// Compares the means of all tokens in one forward pass of the first path,
    /// future tokens included.
    fn means(
        &self,
        step: usize,
        paths: &[Paths],
        recorder: &mut Recorder<'_>,
    ) -> Result<(), VerifyError> {
        let name = format!("{}.step{step}.mean", self.mode);
        let Some(reference) = self.golden.optional_floats(&name)? else { return Ok(()) };
        let rows = self.packed.iter().zip(paths).map(|(row, paths)| fed_back(row, paths, step));
        let rows: Vec<PackedRow> = rows.collect();
        let input = input(&rows);
        let output = forward(self.model, &input).map_err(|error| self.golden.model_error(error))?;
        let width = self.model.config().patch_width;
        let distribution = &self.model.config().output;
        let mut found = Vec::with_capacity(reference.data.len());
        for (row, scaling) in
            output.head.chunks_exact(distribution.width() * width).zip(&output.scalings)
        {
            found.extend((0..width).map(|position| {
                scaling.undo(Position::new(distribution, row, width, position).mean()) as f32
            }));
        }
        let unit = in_scale_units(&reference.data, &output, width);
        if step == 0 {
            let error = largest_error(&found, &reference.data, unit);
            recorder.compared(&name, error, MEAN_TOLERANCE, MEAN_NOTE);
            return Ok(());
        }
        // What was fed back is itself only as near as the rollout must be.
        let unit = |index: usize| unit(index).max(f64::from(reference.data[index]).abs());
        let error = largest_error(&found, &reference.data, unit);
        let note = "scale units, relative if above 1; holds values of the rollout";
        recorder.compared(&name, error, ROLLOUT_TOLERANCE, note);
        Ok(())
    }
}

/// Returns the row as the reference has it before forward pass `step`, with
/// what the first path drew.
fn fed_back(row: &PackedRow, paths: &Paths, step: usize) -> PackedRow {
    let mut row = row.clone();
    for variate in 0..row.segments.variates {
        for patch in 0..step {
            let token = row.segments.target_future(variate, patch);
            let drawn = &paths.path(0, variate)[patch * row.patch_size..][..row.patch_size];
            let start = token * row.patch_width;
            row.values[start..start + row.patch_size].copy_from_slice(drawn);
            row.prediction_mask[token] = false;
        }
    }
    row
}

fn input(rows: &[PackedRow]) -> Input {
    fn all<T: Clone>(rows: &[PackedRow], of: impl Fn(&PackedRow) -> &Vec<T>) -> Vec<T> {
        rows.iter().flat_map(|row| of(row).clone()).collect()
    }
    Input {
        rows: rows.len(),
        tokens: rows.first().map_or(0, PackedRow::tokens),
        target: all(rows, |row| &row.values),
        observed: all(rows, |row| &row.observed),
        sample_id: all(rows, |row| &row.sample_id),
        time_id: all(rows, |row| &row.time_id),
        variate_id: all(rows, |row| &row.variate_id),
        patch_size: rows.iter().flat_map(|row| vec![row.patch_size as u32; row.tokens()]).collect(),
        prediction_mask: all(rows, |row| &row.prediction_mask),
    }
}
