//! Which token may attend to which: rows of tokens, masks, positions.

use std::collections::HashMap;

/// The tokens of one row: everything attention needs to know about them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct RowLayout {
    /// Tokens of different samples do not see each other.
    pub(crate) sample: Vec<u32>,
    /// A token sees those of its own time and before.
    pub(crate) time: Vec<u32>,
    /// Sets the bias of attention, not who sees whom.
    pub(crate) variate: Vec<u32>,
}

impl RowLayout {
    pub(crate) fn len(&self) -> usize {
        self.time.len()
    }

    pub(crate) fn push(&mut self, time: u32, variate: u32) {
        self.sample.push(1);
        self.time.push(time);
        self.variate.push(variate);
    }
}

/// Rows of tokens laid end to end, `[tokens, width]`, those of one layout
/// beside each other.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) groups: Vec<RowGroup>,
}

/// Neighbouring rows of one layout.
#[derive(Debug)]
pub(crate) struct RowGroup {
    pub(crate) rows: usize,
    /// Time of each token of a row.
    pub(crate) times: Vec<u32>,
    /// Tokens of a row.
    pub(crate) length: usize,
    /// Keys of a row in the square arrays: the length, filled up so that loops
    /// over them are done in whole vector registers.
    pub(crate) padded: usize,
    /// `[length, padded]`, 0 where the query (first axis) may see the key,
    /// else negative infinity.
    pub(crate) mask: Vec<f32>,
    /// `[length, padded]`, whether both are of one variate; `None` when
    /// there is only one, for then the bias shifts all scores alike and
    /// falls out of the softmax.
    pub(crate) same_variate: Option<Vec<bool>>,
}

impl Rows {
    /// Lays out `count` rows of each layout, in this order.
    pub(crate) fn new(layouts: &[(&RowLayout, usize)]) -> Self {
        let group = |&(layout, rows): &(&RowLayout, usize)| RowGroup {
            rows,
            times: layout.time.clone(),
            length: layout.len(),
            padded: padded(layout),
            mask: mask(layout),
            same_variate: same_variate(layout),
        };
        Self { groups: layouts.iter().map(group).collect() }
    }

    /// Returns the tokens of all rows.
    pub(crate) fn tokens(&self) -> usize {
        self.groups.iter().map(|group| group.rows * group.length).sum()
    }
}

/// Numbers of the widest vector register.
const LANES: usize = 16;

fn padded(layout: &RowLayout) -> usize {
    layout.len().next_multiple_of(LANES)
}

/// Returns `value(query, key)` `[length, padded]`, and `beyond` beyond the row.
fn square<T: Copy>(layout: &RowLayout, beyond: T, value: impl Fn(usize, usize) -> T) -> Vec<T> {
    let mut all = vec![beyond; layout.len() * padded(layout)];
    for (query, row) in all.chunks_exact_mut(padded(layout)).enumerate() {
        row.iter_mut().take(layout.len()).enumerate().for_each(|(key, it)| *it = value(query, key));
    }
    all
}

fn mask(layout: &RowLayout) -> Vec<f32> {
    square(layout, f32::NEG_INFINITY, |query, key| {
        let sees =
            layout.sample[query] == layout.sample[key] && layout.time[key] <= layout.time[query];
        if sees { 0.0 } else { f32::NEG_INFINITY }
    })
}

fn same_variate(layout: &RowLayout) -> Option<Vec<bool>> {
    let variate = &layout.variate;
    let is_single = variate.windows(2).all(|pair| pair[0] == pair[1]);
    (!is_single).then(|| square(layout, false, |query, key| variate[query] == variate[key]))
}

/// Cosines and sines of the rotary position embedding, one row per token.
///
/// The first half of a head is rotated, in interleaved pairs (0, 1), (2, 3)..:
/// pair j by the angle `time * 10000^(-2j / rotated)`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rotary {
    /// `[tokens, pairs]`.
    pub(crate) cos: Vec<f32>,
    pub(crate) sin: Vec<f32>,
    pub(crate) pairs: usize,
}

impl Rotary {
    pub(crate) fn new(times: &[u32], head_dim: usize) -> Self {
        let pairs = head_dim / 4;
        let rotated = (2 * pairs) as f32;
        let frequency = |pair: usize| 1.0 / 10_000f32.powf(2.0 * pair as f32 / rotated);
        let frequencies: Vec<f32> = (0..pairs).map(frequency).collect();
        // Few distinct times, many tokens.
        let mut known: HashMap<u32, usize> = HashMap::new();
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for (token, &time) in times.iter().enumerate() {
            let first = *known.entry(time).or_insert(token);
            if first < token {
                cos.extend_from_within(first * pairs..(first + 1) * pairs);
                sin.extend_from_within(first * pairs..(first + 1) * pairs);
                continue;
            }
            for frequency in &frequencies {
                let (s, c) = (time as f32 * frequency).sin_cos();
                cos.push(c);
                sin.push(s);
            }
        }
        Self { cos, sin, pairs }
    }
    /// Returns the rows of some tokens.
    pub(crate) fn of(&self, tokens: &[usize]) -> Self {
        let pairs = self.pairs;
        let row = |&token: &usize| token * pairs..(token + 1) * pairs;
        let rows = |all: &[f32]| tokens.iter().flat_map(|t| all[row(t)].to_vec()).collect();
        Self { cos: rows(&self.cos), sin: rows(&self.sin), pairs }
    }
}
