use proptest::prelude::*;

use super::cached::{self, Job};
use super::*;
use crate::imputation::Column;
use crate::packing::Columns;
use crate::sampler::{Sampler, Sampling};
use crate::testing;

/// Largest difference allowed between two roundings of the same computation,
/// in units of the largest value.
const TOLERANCE: f64 = 1e-4;

/// Shapes of a series: everything that changes the tokens.
#[derive(Debug, Clone)]
struct Shape {
    steps: usize,
    horizon: usize,
    variates: usize,
    future_covariates: usize,
    past_covariates: usize,
    missing: usize,
}

fn shapes() -> impl Strategy<Value = Shape> {
    (1usize..40, 1usize..30, 1usize..4, 0usize..3, 0usize..2, 0usize..5).prop_map(
        |(steps, horizon, variates, future_covariates, past_covariates, missing)| Shape {
            steps,
            horizon,
            variates,
            future_covariates,
            past_covariates,
            missing,
        },
    )
}

fn wave(length: usize, phase: f64, missing: usize) -> Column {
    let value = |step: usize| {
        let gap = missing > 0 && step % (missing + 2) == 1;
        if gap { f64::NAN } else { 3.0 * (step as f64 * 0.37 + phase).sin() + phase }
    };
    Column::zero_filled(&(0..length).map(value).collect::<Vec<_>>())
}

fn pack(shape: &Shape, patch_size: usize, patch_width: usize) -> PackedRow {
    pack_padded(shape, 0, patch_size, patch_width)
}

/// Packs with so many steps before the start of the series.
fn pack_padded(shape: &Shape, pad: usize, patch_size: usize, patch_width: usize) -> PackedRow {
    let columns = |count: usize, length: usize, phase: f64| -> Vec<Column> {
        let column = |index: usize| {
            let mut column = wave(length, phase + index as f64, shape.missing);
            column.values.splice(0..0, std::iter::repeat_n(0.0, pad));
            column.observed.splice(0..0, std::iter::repeat_n(false, pad));
            column
        };
        (0..count).map(column).collect()
    };
    let is_pad = (0..pad + shape.steps).map(|step| step < pad).collect();
    let columns = Columns {
        target: columns(shape.variates, shape.steps, 0.5),
        future_covariates: columns(shape.future_covariates, shape.steps + shape.horizon, 10.0),
        past_covariates: columns(shape.past_covariates, shape.steps, 20.0),
        is_pad,
    };
    PackedRow::pack(&columns, shape.horizon, patch_size, patch_width)
}

fn difference(left: &Paths, right: &Paths) -> f64 {
    assert_eq!(left.values.len(), right.values.len());
    let largest = left.values.iter().fold(1f64, |largest, value| largest.max(value.abs()));
    let off = left.values.iter().zip(&right.values).map(|(a, b)| (a - b).abs());
    off.fold(0.0, f64::max) / largest
}

/// Draws the median-like mean, so that no routing tie or tail is provoked by
/// chance, plus a ladder that makes all paths differ.
struct Ladder;

impl Fill for Ladder {
    fn fill(&self, draw: &Draw<'_>, patch: &mut [f64], _: &mut [f32]) {
        for (position, value) in patch.iter_mut().enumerate() {
            let z = f64::from(draw.row[position] * 0.5).tanh() + 0.1 * draw.path as f64;
            *value = draw.scaling.undo(z);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn cached_is_exact_when_location_and_scale_are_held(
        shape in shapes(), seed in 0u64..4, second_size in any::<bool>(),
    ) {
        let sizes = [4, 8];
        let model = testing::model(&sizes, seed);
        let index = usize::from(second_size);
        let row = pack(&shape, sizes[index], 8);
        let series = Series::new(&row, &model.config, Floor::Relative);
        let options = exact::Options { freeze_scale: true, observe: None };
        let exact = exact::rollout(&model, index, &series, 5, &Ladder, options).expect("exact");
        let job = Job::paths(&series, 5, &Ladder);
        let cached = cached::rollout(&model, index, &[job]).expect("cached").remove(0);
        prop_assert!(exact.values.iter().all(|value| value.is_finite()));
        prop_assert!(difference(&exact, &cached) < TOLERANCE, "{}", difference(&exact, &cached));
    }

    #[test]
    fn a_series_is_rolled_out_alone_as_in_a_batch(
        shapes in prop::collection::vec(shapes(), 2..7), seed in 0u64..4,
    ) {
        let model = testing::model(&[4], seed);
        let rows: Vec<PackedRow> = shapes.iter().map(|shape| pack(shape, 4, 4)).collect();
        let series: Vec<Series<'_>> = rows.iter().map(|row| Series::new(row, &model.config, Floor::Relative)).collect();
        let jobs: Vec<Job<'_>> =
            series.iter().map(|series| Job::paths(series, 3, &Ladder)).collect();
        let together = cached::rollout(&model, 0, &jobs).expect("together");
        for (job, together) in jobs.iter().zip(&together) {
            let alone = cached::rollout(&model, 0, std::slice::from_ref(job)).expect("alone");
            prop_assert!(&alone[0] == together, "off by {}", difference(&alone[0], together));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The reference pads short series on the left; nothing may see it.
    #[test]
    fn a_padded_series_is_rolled_out_as_the_bare_one(
        shape in shapes(), pad_patches in 0usize..6, seed in 0u64..4, is_cached in any::<bool>(),
    ) {
        let (model, size) = (testing::model(&[4], seed), 4);
        let bare = pack(&shape, size, size);
        // As many steps as fill the first patch, and whole patches before it.
        let pad = (size - shape.steps % size) % size + pad_patches * size;
        let padded = pack_padded(&shape, pad, size, size);
        let filled = |row: &PackedRow| {
            let series = Series::new(row, &model.config, Floor::Relative);
            if is_cached {
                let job = Job::paths(&series, 3, &Ladder);
                cached::rollout(&model, 0, &[job]).expect("cached").remove(0)
            } else {
                let options = exact::Options::default();
                exact::rollout(&model, 0, &series, 3, &Ladder, options).expect("exact")
            }
        };
        let (bare, padded) = (filled(&bare), filled(&padded));
        prop_assert!(bare == padded, "off by {}", difference(&bare, &padded));
    }

    #[test]
    fn the_number_of_threads_changes_no_bit(
        shapes in prop::collection::vec(shapes(), 1..5), seed in 0u64..4, threads in 2usize..6,
    ) {
        let model = testing::model(&[4], seed);
        let rows: Vec<PackedRow> = shapes.iter().map(|shape| pack(shape, 4, 4)).collect();
        let filled = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
            pool.install(|| {
                let series: Vec<Series<'_>> =
                    rows.iter().map(|row| Series::new(row, &model.config, Floor::Relative)).collect();
                let sampler = Sampler::independent(seed);
                let shared = Sampler { seed, sampling: Sampling::Stratified, points: 3, domains: Vec::new() };
                let jobs: Vec<Job<'_>> =
                    series.iter().map(|series| Job::paths(series, 40, &shared)).collect();
                let cached = cached::rollout(&model, 0, &jobs).expect("cached");
                let options = exact::Options::default();
                let exact = exact::rollout(&model, 0, &series[0], 40, &sampler, options);
                (cached, exact.expect("exact"))
            })
        };
        let (one, many) = (filled(1), filled(threads));
        for (one, many) in one.0.iter().chain([&one.1]).zip(many.0.iter().chain([&many.1])) {
            // Drawn paths may be NaN, so bits are compared.
            let bits = |paths: &Paths| {
                let points = paths.points.iter().map(|point| u64::from(point.to_bits()));
                paths.values.iter().map(|v| v.to_bits()).chain(points).collect::<Vec<_>>()
            };
            prop_assert!(bits(one) == bits(many), "off by {}", difference(one, many));
        }
    }
}

#[test]
fn a_horizon_of_one_patch_is_the_same_in_both_rollouts() {
    let model = testing::model(&[8], 1);
    let shape = Shape {
        steps: 37,
        horizon: 8,
        variates: 2,
        future_covariates: 1,
        past_covariates: 1,
        missing: 3,
    };
    let row = pack(&shape, 8, 8);
    let series = Series::new(&row, &model.config, Floor::Relative);
    let sampler = Sampler::independent(11);
    let options = exact::Options::default();
    let exact = exact::rollout(&model, 0, &series, 20, &sampler, options).expect("exact");
    let job = Job::paths(&series, 20, &sampler);
    let cached = cached::rollout(&model, 0, &[job]).expect("cached");
    assert_eq!(exact, cached[0]);
}

#[test]
fn the_exact_rollout_rescales_each_path() {
    let model = testing::model(&[4], 2);
    let shape = Shape {
        steps: 12,
        horizon: 12,
        variates: 1,
        future_covariates: 0,
        past_covariates: 0,
        missing: 0,
    };
    let row = pack(&shape, 4, 4);
    let series = Series::new(&row, &model.config, Floor::Relative);
    let seen = std::sync::Mutex::new(std::collections::BTreeMap::new());
    let observe = |path: usize, step: usize, scalings: &[Scaling]| {
        seen.lock().expect("lock").insert((path, step), scalings[0].location);
    };
    let options = exact::Options { freeze_scale: false, observe: Some(&observe) };
    let rescaled = exact::rollout(&model, 0, &series, 2, &Ladder, options).expect("exact");
    let seen = seen.into_inner().expect("lock");
    assert_ne!(seen[&(0, 1)], seen[&(0, 0)]);
    assert_ne!(seen[&(0, 1)], seen[&(1, 1)]);
    let options = exact::Options { freeze_scale: true, observe: None };
    let frozen = exact::rollout(&model, 0, &series, 2, &Ladder, options).expect("exact");
    assert_eq!(rescaled.path(0, 0)[..4], frozen.path(0, 0)[..4]);
    assert_ne!(rescaled.path(0, 0)[4..], frozen.path(0, 0)[4..]);
}

/// Few paths that share the distributions out say what a hundred thousand independent
/// ones do, within what those vary by.
#[test]
fn stratified_paths_have_the_distribution_of_independent_ones() {
    const MANY: usize = 100_000;
    for seed in 0..3 {
        let model = testing::model(&[4], seed);
        let shape = Shape {
            steps: 21,
            horizon: 11,
            variates: 1 + seed as usize % 2,
            future_covariates: 1,
            past_covariates: 0,
            missing: 0,
        };
        let row = pack(&shape, 4, 4);
        let series = Series::new(&row, &model.config, Floor::Relative);
        let independent = Sampler::independent(seed);
        let job = Job::paths(&series, MANY, &independent);
        let plain = cached::rollout(&model, 0, &[job]).expect("plain").remove(0);
        // Many seeds of few paths: what they have in common is the distribution.
        let samplers: Vec<Sampler> = (0..400)
            .map(|seed| Sampler {
                seed,
                sampling: Sampling::Stratified,
                points: 8,
                domains: Vec::new(),
            })
            .collect();
        let jobs: Vec<Job<'_>> =
            samplers.iter().map(|sampler| Job::paths(&series, 16, sampler)).collect();
        let few = cached::rollout(&model, 0, &jobs).expect("few");
        for variate in 0..shape.variates {
            let scaling = plain.scalings[variate];
            for step in 0..shape.horizon {
                let mut all: Vec<f64> =
                    (0..MANY).map(|path| plain.path(path, variate)[step]).collect();
                all.sort_unstable_by(f64::total_cmp);
                for level in [0.05, 0.25, 0.5, 0.75, 0.95] {
                    let place = (level * MANY as f64) as usize;
                    let (quantile, next) = (all[place], all[place + 1]);
                    // Where counts are drawn a quantile may be many draws' own.
                    let share = |values: &mut dyn Iterator<Item = f64>| {
                        let (mut below, mut count) = (0.0, 0.0);
                        for value in values {
                            below += f64::from(u8::from(value < (quantile + next) / 2.0))
                                + 0.5 * f64::from(u8::from(value == (quantile + next) / 2.0));
                            count += 1.0;
                        }
                        below / count
                    };
                    let expected = share(&mut all.iter().copied());
                    let of_points: Vec<f64> = few
                        .iter()
                        .map(|paths| {
                            let points = (0..16).flat_map(|path| paths.points(path, variate, step));
                            share(&mut points.map(|point| scaling.undo(f64::from(*point))))
                        })
                        .collect();
                    let of_values: Vec<f64> = few
                        .iter()
                        .map(|paths| {
                            share(&mut (0..16).map(|path| paths.path(path, variate)[step]))
                        })
                        .collect();
                    let error_of_plain = (level * (1.0 - level) / MANY as f64).sqrt();
                    for (what, shares) in [("points", of_points), ("values", of_values)] {
                        let count = shares.len() as f64;
                        let mean = shares.iter().sum::<f64>() / count;
                        let variance =
                            shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>();
                        let error = (variance / count / count + error_of_plain.powi(2)).sqrt();
                        let off = (mean - expected).abs() / error;
                        assert!(
                            off < 5.0,
                            "{what} of seed {seed}, variate {variate}, step {step}, {level}: {mean} for {expected}, {off} standard errors"
                        );
                    }
                }
            }
        }
    }
}
