//! A packed ring is a plain one to the bit.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::PackedRing;

/// What is done with a ring.
#[derive(Debug, Clone)]
enum Step {
    /// The oldest one is let go if the ring is full, as a context does.
    Push(f64),
    Pop,
    Repack,
    /// What a snapshot does.
    Rebuild,
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Values as series have them: of one kind for a while, with others in between.
fn values() -> impl Strategy<Value = Vec<f64>> {
    let decimals = (0_u32..14, -2_000_000_i64..2_000_000)
        .prop_map(|(digits, number)| number as f64 / 10_f64.powi(digits as i32));
    let readings = (0_u32..5, 0_i64..30_000).prop_flat_map(|(digits, level)| {
        let reading = move |number: i64| (level + number) as f64 / 10_f64.powi(digits as i32);
        prop::collection::vec((-300_i64..300).prop_map(reading), 1..40)
    });
    let means = (-6_i32..9, 1_i64..61).prop_flat_map(|(size, rows)| {
        let mean = move |sum: f64| sum * 10_f64.powi(size) / rows as f64;
        prop::collection::vec((0.5_f64..50.0).prop_map(mean), 1..40)
    });
    let others = prop_oneof![
        4 => Just(f64::NAN),
        2 => Just(0.0),
        2 => Just(-0.0),
        2 => decimals,
        1 => any::<f32>().prop_map(f64::from),
        1 => -5.0_f64..5.0,
        1 => prop::num::f64::ANY,
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => prop_oneof![Just(f64::MAX), Just(f64::MIN_POSITIVE), Just(5e-324), Just(f64::INFINITY)],
        1 => ((1_i64 << 50)..(1_i64 << 54)).prop_map(|number| number as f64),
    ];
    prop_oneof![3 => readings, 3 => means, 2 => prop::collection::vec(others, 1..6)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => values().prop_map(|values| values.into_iter().map(Step::Push).collect()),
        2 => (1_usize..12).prop_map(|times| vec![Step::Pop; times]),
        1 => Just(vec![Step::Repack]),
        1 => Just(vec![Step::Rebuild]),
    ];
    prop::collection::vec(step, 1..24).prop_map(|steps| steps.concat())
}

proptest! {
    #[test]
    fn it_is_a_plain_ring_to_the_bit(steps in steps(), most in 1_usize..40) {
        let (mut packed, mut plain) = (PackedRing::default(), VecDeque::new());
        for step in steps {
            match step {
                Step::Push(value) => {
                    if plain.len() == most {
                        let popped = packed.pop_front().map(f64::to_bits);
                        prop_assert_eq!(popped, plain.pop_front().map(f64::to_bits));
                    }
                    packed.push_back(value, most);
                    plain.push_back(value);
                }
                Step::Pop => {
                    let popped = packed.pop_front().map(f64::to_bits);
                    prop_assert_eq!(popped, plain.pop_front().map(f64::to_bits));
                }
                Step::Repack => packed.repack(),
                Step::Rebuild => packed = PackedRing::of(&packed.to_vec()),
            }
            prop_assert_eq!(packed.len(), plain.len());
            prop_assert_eq!(packed.front().map(f64::to_bits), plain.front().copied().map(f64::to_bits));
            prop_assert_eq!(bits(&packed.to_vec()), bits(plain.make_contiguous()));
        }
    }
}

/// Returns the bytes that each of 512 values takes once a context of them is full.
fn bytes_each(value: impl Fn(i32) -> f64) -> usize {
    let mut ring = PackedRing::default();
    (0..512).for_each(|step| ring.push_back(value(step), 512));
    assert_eq!(ring.bytes() % 512, 0);
    ring.bytes() / 512
}

/// A load in kW between 3 and 30.
fn load(step: i32) -> f64 {
    16.5 + 13.5 * f64::from(step).sin()
}

#[test]
fn readings_take_as_many_bytes_as_they_have_digits() {
    assert_eq!(bytes_each(|step| f64::from(step % 7)), 1);
    assert_eq!(bytes_each(|step| (load(step) * 10.0).round() / 10.0), 2);
    assert_eq!(bytes_each(|step| (load(step) * 1e4).round() / 1e4), 3);
    let with_gaps = |step: i32| match step % 5 {
        0 => f64::NAN,
        1 => 0.0,
        2 => -0.0,
        _ => 400.0 + f64::from(step % 100),
    };
    assert_eq!(bytes_each(with_gaps), 1);
}

#[test]
fn means_take_seven_bytes_and_what_has_no_likeness_eight() {
    assert_eq!(bytes_each(load), 7);
    assert_eq!(bytes_each(|step| load(step) * f64::from(1 - step % 2 * 2)), 7);
    assert_eq!(bytes_each(|step| load(step) * 10_f64.powi(step % 40 - 20)), 8);
}

#[test]
fn a_ring_gets_narrow_again_when_what_made_it_wide_has_left() {
    let mut ring = PackedRing::default();
    for step in 0..64 {
        let value = if step == 0 { std::f64::consts::PI } else { f64::from(step) };
        ring.push_back(value, 64);
    }
    assert_eq!(ring.bytes(), 7 * 64);
    ring.repack();
    assert_eq!(ring.bytes(), 7 * 64);
    ring.pop_front();
    ring.push_back(64.0, 64);
    ring.repack();
    assert_eq!(ring.bytes(), 64);
}

#[test]
fn a_drift_seldom_changes_the_form() {
    let mut ring = PackedRing::default();
    let mut changes = 0;
    // A meter's index: 512 steps are 51,200 units, two bytes less what is free of them.
    for step in 0..100_000 {
        if ring.len() == 512 {
            ring.pop_front();
        }
        let before = ring.form;
        ring.push_back(f64::from(step) * 100.0, 512);
        changes += usize::from(ring.form != before);
    }
    assert!(changes < 100_000 / 40, "{changes} changes");
}
