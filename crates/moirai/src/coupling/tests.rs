use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::distribution::Component;

const PATCH: usize = 16;

/// Two normal distributions side by side, the same at each of the patch's positions.
fn mixture() -> (DistributionOutput, Vec<f32>) {
    let output = DistributionOutput::Mixture(vec![
        Component::NormalFixedScale { scale: 0.5 },
        Component::NormalFixedScale { scale: 2.0 },
    ]);
    let row = [0.3f32, -0.2, -1.0, 2.0].iter().flat_map(|&it| vec![it; PATCH]).collect();
    (output, row)
}

/// Draws places of patches as they hang together with a coupling.
fn places(coupling: Coupling, patches: usize, random: &mut ChaCha8Rng) -> Vec<f64> {
    let mut all = Vec::new();
    let mut normal = || -> f64 { StandardNormal.sample(random) };
    for _ in 0..patches {
        let mut walk = normal();
        for at in 0..PATCH {
            if at > 0 {
                let rest = (1.0 - coupling.slowness.powi(2)).sqrt();
                walk = coupling.slowness * walk + rest * normal();
            }
            all.push(coupling.slow.sqrt() * walk + (1.0 - coupling.slow).sqrt() * normal());
        }
    }
    all
}

#[test]
fn told_points_are_as_likely_as_they_should_be_and_hang_together() {
    let (paths, points) = (16, 64);
    for (slowness, slow) in [(0.0, 0.0), (0.9, 0.5), (0.7, 1.0), (0.98, 0.9)] {
        let coupling = Coupling { slowness, slow };
        let (mut counts, mut products, mut squares) = ([0usize; 4], 0.0, 0.0);
        for seed in 0..400 {
            let strata = Strata { seed, paths, points };
            for path in 0..paths {
                let told: Vec<usize> = coupling.told(strata, 1, path, 40).collect();
                told.iter().for_each(|point| counts[point / 16] += 1);
                let place = |point: &usize| normal_quantile((*point as f64 + 0.5) / points as f64);
                let z: Vec<f64> = told.iter().map(place).collect();
                products += z.iter().zip(&z[4..]).map(|(a, b)| a * b).sum::<f64>();
                squares += z.iter().zip(&z[4..]).map(|(a, b)| (a * a + b * b) / 2.0).sum::<f64>();
            }
        }
        let all: usize = counts.iter().sum();
        for count in counts {
            let share = count as f64 / all as f64;
            assert!((share - 0.25).abs() < 0.01, "{coupling:?}: {counts:?}");
        }
        let (found, expected) = (products / squares, slow * slowness.powi(4));
        assert!((found - expected).abs() < 0.02, "{coupling:?}: {found} for {expected}");
    }
}

#[test]
fn the_coupling_of_patches_is_found_in_them() {
    for (slowness, slow) in [(0.5, 1.0), (0.8, 0.8), (0.95, 0.5), (0.95, 1.0)] {
        let coupling = Coupling { slowness, slow };
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let (mut together, mut with_gaps) = (Together::default(), Together::default());
        for patch in places(coupling, 4_000, &mut random).chunks_exact(PATCH) {
            together.add(patch);
            let mut gaps = patch.to_vec();
            gaps[3..7].fill(f64::NAN);
            with_gaps.add(&gaps);
        }
        for (together, what) in [(together, "whole"), (with_gaps, "with gaps")] {
            let found = together.coupling(PATCH);
            let off = (found.slowness - slowness).abs().max((found.slow - slow).abs());
            assert!(off < 0.08, "{what}: {found:?} for {coupling:?}");
        }
    }
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut noise = Together::default();
    places(Coupling::default(), 4_000, &mut random)
        .chunks_exact(PATCH)
        .for_each(|patch| noise.add(patch));
    let found = noise.coupling(PATCH);
    assert!(found.slow * found.slowness < 0.03, "{found:?} in noise");
}

#[test]
fn where_there_is_nothing_to_look_at_the_usual_is_taken() {
    let usual = Together::default().coupling(PATCH);
    assert!((usual.slow * usual.slowness - PRIOR_OF_NEIGHBOURS).abs() < 1e-6, "{usual:?}");
    let mut none = Together::default();
    none.add(&[f64::NAN; PATCH]);
    assert_eq!(none.coupling(PATCH), usual);
    assert_eq!(Together::default().coupling(1), Coupling::default(), "patches of one step");
}

#[test]
fn what_the_model_said_is_where_it_is_placed() {
    let (output, row) = mixture();
    let coupling = Coupling { slowness: 0.9, slow: 0.9 };
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let z = places(coupling, MOST_PATCHES, &mut random);
    let mut prepared = Prepared::default();
    let happened: Vec<f32> = z
        .iter()
        .enumerate()
        .map(|(index, z)| {
            Position::new(&output, &row, PATCH, index % PATCH).prepare(&mut prepared);
            // Of normal components the uniform number says all but their order.
            let point = |k: u32| (f64::from(k) + 0.5) / 400.0;
            let mut points: Vec<f64> =
                (0..400).map(|k| prepared.draw_at(point(k), &mut random)).collect();
            points.sort_by(f64::total_cmp);
            points[(normal_probability(*z) * 400.0) as usize] as f32
        })
        .collect();
    let rows: Vec<f32> = (0..MOST_PATCHES).flat_map(|_| row.clone()).collect();
    let of = |happened: &[f32]| {
        let (rows, output) = (&rows[..], &output);
        let (patch_width, patch_size) = (PATCH, PATCH);
        Hindsight { output, rows, patch_width, happened, patch_size, seed: 1, variate: 0 }
            .together()
    };
    let found = of(&happened);
    let mut expected = Together::default();
    z.chunks_exact(PATCH).for_each(|patch| expected.add(patch));
    assert_eq!((found.places, found.pairs), (expected.places, expected.pairs));
    let correlation = |it: &Together| it.of_pairs / it.pairs / (it.squares / it.places);
    let off = correlation(&found) - correlation(&expected);
    assert!(off.abs() < 0.05, "{found:?} for {expected:?}");
    let unobserved = of(&vec![f32::NAN; happened.len()]);
    assert_eq!(unobserved, Together::default());
}

#[test]
fn the_newest_patches_are_looked_at_and_the_very_newest_foretells_none() {
    assert_eq!(looked_at(3..3), 3..3);
    assert_eq!(looked_at(3..4), 3..3);
    assert_eq!(looked_at(3..9), 3..8);
    assert_eq!(looked_at(0..100), 67..99);
}
