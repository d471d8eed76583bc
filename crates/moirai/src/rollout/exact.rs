//! The reference's loop: at each step and for each path, location and scale
//! are estimated anew with what was drawn, and everything is encoded again.

use candle_core::{Device, Result};
use rayon::prelude::*;

use super::{Draw, Fill, PATHS_A_THREAD, Paths, Series, patches};
use crate::config::Config;
use crate::model::{Chunk, MoiraiMoe, Probe};
use crate::network::{Layouts, Network};
use crate::rows::{RowLayout, Rows};
use crate::scaler::Scaling;
use crate::strata::Strata;

/// What an observer sees before each forward pass of one path: path, step, and
/// the scaling of each variate and covariate.
pub(crate) type Observe<'a> = &'a (dyn Fn(usize, usize, &[Scaling]) + Sync);

/// How to run the loop.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options<'a> {
    /// Keeps location and scale as the context has them: the variant whose
    /// result the cached rollout must repeat.
    pub(crate) freeze_scale: bool,
    pub(crate) observe: Option<Observe<'a>>,
}

/// Fills the horizon of one series with `paths` sample paths.
pub(crate) fn rollout(
    model: &dyn Network,
    patch_index: usize,
    series: &Series<'_>,
    paths: usize,
    fill: &dyn Fill,
    options: Options<'_>,
) -> Result<Paths> {
    let scalings = series.scalings(&series.moments);
    let mut out = Paths { scalings: scalings.clone(), ..Paths::new(paths, series, 0) };
    if let Some(observe) = options.observe {
        observe(0, 0, &scalings);
    }
    // The first patch: one row, all paths drawn from it.
    let mut scaled = Vec::new();
    series.push_context(&scalings, &mut scaled);
    let head = model.predict(patch_index, scaled, &[(&series.layout, 1)], &series.newest)?;
    let length = series.steps() * series.variates();
    for (path, values) in out.values.chunks_exact_mut(length).enumerate() {
        let target = Target { path, step: 0, series, config: model.config(), strata: None };
        target.draw(&head, &scalings, fill, values, &mut []);
    }
    if series.patches() == 1 {
        return Ok(out);
    }
    let longest = series.context.len() + series.patches() * series.step_variates().len();
    let at_once = (model.tokens_at_once() / longest).max(1);
    for (chunk, values) in out.values.chunks_mut(at_once * length).enumerate() {
        let part = Part { model, patch_index, series, first: chunk * at_once };
        part.go_on(values, fill, options)?;
    }
    Ok(out)
}

/// Some paths of the series, encoded together.
struct Part<'a> {
    model: &'a dyn Network,
    patch_index: usize,
    series: &'a Series<'a>,
    /// The first of the paths.
    first: usize,
}

impl Part<'_> {
    /// Fills the patches after the first; `values` are those of the chunk's
    /// paths.
    fn go_on(&self, values: &mut [f64], fill: &dyn Fill, options: Options<'_>) -> Result<()> {
        let series = self.series;
        let patch_size = series.row.patch_size;
        let length = series.steps() * series.variates();
        let step_variates = series.step_variates();
        let mut layout: RowLayout = series.layout.clone();
        let mut moments = vec![series.moments.clone(); values.len() / length];
        for step in 1..series.patches() {
            let mut wanted = Vec::with_capacity(moments.len() * series.variates());
            let (mut scaled, mut scalings) = (Vec::new(), Vec::with_capacity(moments.len()));
            let newest = layout.len();
            for &variate in &step_variates {
                layout.push(series.first_future_time() + step as u32 - 1, variate);
            }
            for (path, (values, moments)) in
                values.chunks_exact(length).zip(&mut moments).enumerate()
            {
                let drawn = |step: usize, variate: usize| {
                    &values[variate * series.steps() + step * patch_size..][..patch_size]
                };
                if !options.freeze_scale {
                    for (variate, moments) in moments.iter_mut().take(series.variates()).enumerate()
                    {
                        series.observe(step - 1, drawn(step - 1, variate), moments);
                    }
                }
                let scaling = series.scalings(moments);
                if let Some(observe) = options.observe {
                    observe(self.first + path, step, &scaling);
                }
                series.push_context(&scaling, &mut scaled);
                for past in 0..step {
                    series.push_step(past, &scaling, |variate| drawn(past, variate), &mut scaled);
                }
                let start = path * layout.len() + newest;
                wanted.extend((start..start + series.variates()).map(|token| token as u32));
                scalings.push(scaling);
            }
            let layouts = [(&layout, moments.len())];
            let head = self.model.predict(self.patch_index, scaled, &layouts, &wanted)?;
            let config = self.model.config();
            let per_path = head.len() / moments.len();
            let paths = values.par_chunks_exact_mut(length).with_min_len(PATHS_A_THREAD);
            paths.zip(head.par_chunks_exact(per_path)).zip(&scalings).enumerate().for_each(
                |(path, ((values, head), scalings))| {
                    let path = self.first + path;
                    let target = Target { path, step, series, config, strata: None };
                    target.draw(head, scalings, fill, values, &mut []);
                },
            );
        }
        Ok(())
    }
}

/// One patch of one path, all variates.
pub(super) struct Target<'a> {
    pub(super) path: usize,
    pub(super) step: usize,
    pub(super) series: &'a Series<'a>,
    pub(super) config: &'a Config,
    pub(super) strata: Option<Strata>,
}

impl Target<'_> {
    /// Draws the patch of each variate; `head` holds one row per variate,
    /// `values` the path, and `points` those of its distributions.
    pub(super) fn draw(
        &self,
        head: &[f32],
        scalings: &[Scaling],
        fill: &dyn Fill,
        values: &mut [f64],
        points: &mut [f32],
    ) {
        let series = self.series;
        let patch_size = series.row.patch_size;
        let rows = head.chunks_exact(head.len() / series.variates());
        let per_step = points.len() / (series.variates() * series.steps());
        let mut points = points.chunks_exact_mut((series.steps() * per_step).max(1));
        for ((variate, row), values) in
            rows.enumerate().zip(values.chunks_exact_mut(series.steps()))
        {
            let draw = Draw {
                path: self.path,
                step: self.step,
                variate,
                output: &self.config.output,
                row,
                patch_width: series.row.patch_width,
                scaling: scalings[variate],
                strata: self.strata,
            };
            let points = match points.next() {
                Some(points) => {
                    &mut points[self.step * patch_size * per_step..][..patch_size * per_step]
                }
                None => &mut [],
            };
            fill.fill(&draw, &mut values[self.step * patch_size..][..patch_size], points);
        }
    }
}

/// Returns the head's rows for the wanted tokens, from the network on the CPU.
pub(crate) fn predict(
    model: &MoiraiMoe,
    patch_index: usize,
    scaled: Vec<f32>,
    layouts: &Layouts<'_>,
    wanted: &[u32],
) -> Result<Vec<f32>> {
    let rows = Rows::new(layouts);
    let scaled = patches(scaled, model.config.patch_width, &Device::Cpu)?;
    let x = model.embed(&scaled, patch_index, &mut Probe::none())?;
    let size = Chunk::size(rows.tokens(), rayon::current_num_threads());
    let mut chunks = Chunk::of_rows(&rows, model.config.head_dim, Some(wanted), false, size);
    let encoded = model.encode(x, &mut chunks, &mut Probe::none())?;
    model.head(&encoded, patch_index)?.flatten_all()?.to_vec1()
}
