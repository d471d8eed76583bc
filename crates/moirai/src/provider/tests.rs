use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidecast_stream::DomainRule;

use super::*;
use crate::spec;

fn sine(steps: usize, phase: f64) -> Vec<f64> {
    let value =
        |step: usize| 20.0 + 5.0 * (step as f64 / 24.0 * std::f64::consts::TAU + phase).sin();
    (0..steps).map(value).collect()
}

fn task(values: &[f64], horizon: usize, seed: u64) -> ForecastTask {
    let mut task = ForecastTask::new(Context::univariate(values), horizon);
    (task.samples, task.seed, task.keep_samples) = (Some(30), seed, true);
    task
}

fn one(model: &mut dyn Provider, task: &ForecastTask) -> Forecast {
    model.forecast(std::slice::from_ref(task)).remove(0).expect("a forecast")
}

/// Largest difference of all sample paths.
fn difference(left: &Forecast, right: &Forecast) -> f64 {
    let flat = |forecast: &Forecast| forecast.samples.as_ref().expect("samples").concat().concat();
    let (left, right) = (flat(left), flat(right));
    assert_eq!(left.len(), right.len());
    left.iter().zip(&right).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn the_builtin_checkpoint_is_what_its_card_says() {
    let model = load(&spec()).expect("loads");
    let info = model.info();
    assert_eq!(info.parameters, 8_778_736);
    assert_eq!(info.active_parameters, 2_143_216);
    assert_eq!((model.patch_sizes(), info.recommended_context), (&[16][..], Some(1024)));
    assert_eq!(info.licence.as_deref(), Some("Apache-2.0"));
    assert_eq!(info.weights_bytes, 18_030_112);
    assert_eq!(info.version.len(), "sha256:".len() + 64);
    assert_eq!(model.rollout(), Rollout::Cached);
    let settings = [
        ("patch", "16 steps".to_owned()),
        ("rollout", "cached".to_owned()),
        ("sampling", "stratified".to_owned()),
    ];
    assert_eq!(info.settings, settings);
}

#[test]
fn told_paths_hang_together_as_the_context_does_and_each_step_is_what_it_was() {
    let mut model = load(&spec()).expect("loads");
    // A level that wanders slowly: what comes next is off on one side for long. And noise,
    // which has nothing to hang together.
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut level = 0.0;
    let mut wander = || {
        level = 0.95 * level + random.random::<f64>() - 0.5;
        level
    };
    let wandering: Vec<f64> = (0..640).map(|_| wander()).collect();
    let noise: Vec<f64> = (0..640).map(|_| random.random()).collect();
    let mut wider = |values: &[f64]| {
        let mut asked = ForecastTask { samples: Some(64), ..task(values, 40, 5) };
        let told = one(&mut model, &asked);
        asked.keep_samples = false;
        let plain = one(&mut model, &asked);
        assert_eq!((&plain.mean, &plain.quantiles), (&told.mean, &told.quantiles));
        // Each step's paths are what its quantiles say.
        let single =
            told.aggregated("sum:1".parse().expect("one"), &[0.1, 0.5, 0.9]).expect("paths");
        let band = |quantiles: &[Vec<Vec<f64>>]| -> f64 {
            let (low, high) = (&quantiles[0][0], &quantiles[2][0]);
            low.iter().zip(high).map(|(low, high)| high - low).sum()
        };
        let same = band(&single.quantiles) / band(&told.quantiles);
        assert!((0.9..1.1).contains(&same), "{same}");
        // Were steps independent, the band of a sum would grow with the root of their number.
        let sums =
            told.aggregated("sum:16".parse().expect("one"), &[0.1, 0.5, 0.9]).expect("paths");
        let independent = 4.0 * band(&told.quantiles) / 40.0;
        band(&sums.quantiles) / 2.0 / independent
    };
    let (wandering, noise) = (wider(&wandering), wider(&noise));
    assert!(wandering > 1.8, "{wandering}");
    assert!((0.7..1.5).contains(&noise), "{noise}");
}

#[test]
fn a_sine_goes_on() {
    let whole = sine(512 + 48, 0.3);
    for rollout in [Rollout::Cached, Rollout::Exact] {
        let mut model = load(&spec().with("rollout", rollout)).expect("loads");
        let mut values = whole[..512].to_vec();
        values[100..110].fill(f64::NAN);
        let forecast = one(&mut model, &task(&values, 48, 1));
        let median = &forecast.quantiles[1][0];
        let off = median.iter().zip(&whole[512..]).map(|(a, b)| (a - b).abs());
        let off = off.fold(0.0, f64::max);
        assert!(off < 1.0, "{rollout}: {off} of an amplitude of 5");
        for ((low, median), high) in
            forecast.quantiles[0][0].iter().zip(median).zip(&forecast.quantiles[2][0])
        {
            assert!(low <= median && median <= high);
        }
    }
}

#[test]
fn a_forecast_depends_on_its_task_alone() {
    let tasks: Vec<ForecastTask> = (0..6)
        .map(|index| task(&sine(100 + 37 * index, index as f64), 10 + 9 * index, index as u64))
        .collect();
    let single = ModelSpec { threads: Some(1), ..spec() };
    let mut single = load(&single).expect("loads");
    let several = ModelSpec { threads: Some(3), ..spec() };
    let mut several = load(&several).expect("loads");
    let mut batch = tasks.clone();
    batch.insert(3, task(&[f64::NAN; 20], 5, 0));
    let mut together = several.forecast(&batch);
    let refused = together.remove(3).expect_err("nothing was observed");
    assert_eq!(refused, TaskError::NothingObserved { variates: 1, steps: 20 });
    for (task, together) in tasks.iter().zip(together) {
        let alone = one(&mut single, task);
        let together = together.expect("a forecast");
        assert!(alone == together, "off by {}", difference(&alone, &together));
    }
    let mut other = tasks[0].clone();
    other.seed += 1;
    let (left, right) = (one(&mut single, &tasks[0]), one(&mut single, &other));
    assert!(difference(&left, &right) > 1e-3);
}

#[test]
fn a_shorter_horizon_draws_the_beginning_of_a_longer_one() {
    let mut model = load(&spec()).expect("loads");
    let long = one(&mut model, &task(&sine(200, 0.0), 40, 5));
    let short = one(&mut model, &task(&sine(200, 0.0), 20, 5));
    let (long, short) = (long.samples.expect("samples"), short.samples.expect("samples"));
    for (long, short) in long.iter().zip(&short) {
        assert_eq!(long[0][..20], short[0]);
    }
}

#[test]
fn odd_series_are_forecast_or_refused_but_never_break_the_batch() {
    let mut model = load(&spec()).expect("loads");
    let usual = task(&sine(64, 0.0), 20, 9);
    let alone = one(&mut model, &usual);
    let big = |value: f64| -> Vec<f64> {
        (0..50).map(|i| value * (1.0 - 2.0 * (i % 2) as f64)).collect()
    };
    let odd = [
        vec![5.0],
        vec![0.0; 48],
        vec![7.0; 48],
        vec![f64::NAN, f64::NAN, 3.0],
        vec![f64::INFINITY, 1.0, f64::NEG_INFINITY, 2.0],
        big(1e30),
        big(1e300),
        big(f64::MAX),
        big(1e-300),
        big(f64::MIN_POSITIVE),
        vec![1e-310; 30],
        vec![5e-324; 30],
        vec![1e300; 30],
    ];
    let mut batch: Vec<ForecastTask> = odd.iter().map(|values| task(values, 20, 1)).collect();
    batch.push(usual);
    for rollout in [Rollout::Cached, Rollout::Exact] {
        let mut model = load(&spec().with("rollout", rollout)).expect("loads");
        let mut outcomes = model.forecast(&batch);
        let last = outcomes.pop().expect("as many as tasks").expect("a forecast");
        if rollout == Rollout::Cached {
            assert!(last == alone, "off by {}", difference(&last, &alone));
        }
        for (values, outcome) in odd.iter().zip(outcomes) {
            match outcome {
                Ok(forecast) => {
                    let numbers = forecast.quantiles.concat().concat();
                    assert!(numbers.iter().all(|number| number.is_finite()), "{values:?}");
                }
                Err(error) => assert!(matches!(error, TaskError::NotFinite { .. }), "{error}"),
            }
        }
    }
    let tenth = one(&mut model, &task(&[0.1; 48], 20, 1));
    assert!(tenth.mean[0].iter().all(|mean| *mean == 0.1));
    let constant = one(&mut model, &batch[2]);
    let numbers = [constant.mean.concat(), constant.quantiles.concat().concat()].concat();
    assert!(numbers.iter().all(|value| *value == 7.0), "to the last digit");
    let long = task(&vec![1.0; 70_000], 4, 0);
    let refused = model.forecast(&[long]).remove(0).expect_err("too long");
    assert!(matches!(refused, TaskError::TooLong { .. }));
}

/// Forecasts are values that the series can have: found in a long context of counts,
/// or said; and what is fed back is one, too.
#[test]
fn forecasts_are_held_to_their_domain() {
    let counts: Vec<f64> =
        (0..160).map(|step| f64::from([0, 0, 3, 0, 1, 0, 0][step % 7])).collect();
    let said = |rule: DomainRule| {
        let mut task = task(&sine(96, 0.0), 24, 2);
        task.domain = rule;
        task
    };
    let any = DomainRule::default();
    let bounded = DomainRule { lower: Some(19.5), upper: Some(22.25), ..any };
    let whole = DomainRule { integer: Some(true), ..any };
    for rollout in [Rollout::Cached, Rollout::Exact] {
        let mut model = load(&spec().with("rollout", rollout)).expect("loads");
        let numbers = |forecast: &Forecast| {
            let samples = forecast.samples.as_ref().expect("samples").concat().concat();
            [forecast.quantiles.concat().concat(), samples].concat()
        };
        let found = one(&mut model, &task(&counts, 24, 1));
        let domain = Domain { lower: Some(0.0), upper: None, integer: true };
        assert_eq!(found.domains, [domain]);
        let is_count = |value: &f64| *value >= 0.0 && value.fract() == 0.0;
        assert!(numbers(&found).iter().all(is_count), "{rollout}: {found:?}");
        assert!(found.mean[0].iter().any(|mean| mean.fract() != 0.0), "means need not be");

        let free = one(&mut model, &said(any));
        assert!(free.domains[0].is_any());
        let found = one(&mut model, &said(bounded));
        assert!(numbers(&found).iter().all(|value| (19.5..=22.25).contains(value)));
        assert!(numbers(&free).iter().any(|value| !(19.5..=22.25).contains(value)));
        // What follows the first patch saw what was held.
        let nearest = |forecast: &Forecast| -> Vec<f64> {
            numbers(forecast).iter().map(|value| found.domains[0].nearest(*value)).collect()
        };
        assert_ne!(nearest(&free), numbers(&found), "{rollout}");
        let found = one(&mut model, &said(whole));
        assert!(numbers(&found).iter().all(|value| value.fract() == 0.0));
    }
}

#[test]
fn several_variates_and_covariates_are_taken() {
    let mut model = load(&spec()).expect("loads");
    let mut task = task(&sine(96, 0.0), 24, 2);
    task.context.variates.push(sine(96, 1.0));
    task.context.future_covariates.push(sine(120, 2.0));
    task.context.past_covariates.push(sine(96, 3.0));
    let forecast = one(&mut model, &task);
    assert_eq!((forecast.mean.len(), forecast.mean[1].len()), (2, 24));
    let samples = forecast.samples.expect("samples");
    assert_eq!((samples.len(), samples[0].len(), samples[0][1].len()), (30, 2, 24));
    // 6 patches of 4 columns, then one step of 3 tokens for each path.
    assert_eq!(model.cost(&task), 24 + 3 * 30);
}

#[test]
fn what_cannot_be_loaded_says_what_to_do() {
    let refused = |spec: ModelSpec| load(&spec).expect_err("refused").to_string();
    let gpu = refused(ModelSpec { device: "cuda:0".into(), ..spec() });
    if cfg!(not(feature = "cuda")) {
        assert!(gpu.starts_with("device `cuda:0` is not supported by this build: use `cpu`"));
    }
    let device = refused(ModelSpec { device: "tpu".into(), ..spec() });
    assert!(device.starts_with("unknown device `tpu`"), "{device}");
    let size = refused(spec().with("patch.size", 32));
    assert_eq!(size, "the checkpoint has no patch size `32`: choose one of [16]");
    let nowhere = refused(spec().with("path", "/no/such"));
    assert!(nowhere.starts_with("`/no/such` is not a folder: point to a folder with"));
    let other = refused(spec().with("season", 24));
    assert!(other.starts_with("unknown option `season` of a moirai-moe model"), "{other}");
    let rollout = refused(spec().with("rollout", "fast"));
    assert_eq!(rollout, "unknown rollout `fast`: expected `cached` or `exact`");
    let dtype = refused(spec().with("dtype", "fp16"));
    assert_eq!(dtype, "unknown dtype `fp16`: expected `f32`, `f16` or `bf16`");
}
