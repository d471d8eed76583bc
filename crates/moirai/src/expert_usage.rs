//! How a mixture of experts was used.

use serde::Serialize;
use tidecast_forecast::Counter;

/// How many tokens went to each expert of each layer since the model was
/// loaded. A token counts once for each of its two experts.
///
/// Experts nobody needs and experts everybody goes to are the signs of routing
/// that collapsed (Liu et al. 2024, arXiv 2410.10469, section 4.4, looks at the
/// published models in this way).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ExpertUsage {
    /// Tokens, `[layer][expert]`.
    pub layers: Vec<Vec<u64>>,
}

/// How evenly one layer's tokens were spread over its experts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerUsage {
    /// Tokens, each counted once for each of its two experts.
    pub tokens: u64,
    /// Each expert's part of them, in sum 1; all 0 without tokens.
    pub shares: Vec<f64>,
    /// Entropy of the shares over that of equal ones: 1 is even, 0 is all
    /// tokens at one expert (or none at all).
    pub entropy: f64,
    /// Experts that got no token.
    pub dead: usize,
}

impl ExpertUsage {
    /// Returns how evenly each layer's tokens were spread.
    ///
    /// ```
    /// # use tidecast_moirai::ExpertUsage;
    /// let usage = ExpertUsage { layers: vec![vec![5, 5, 0, 0]] };
    /// let layer = &usage.by_layer()[0];
    /// assert_eq!((layer.tokens, layer.dead, layer.shares[0]), (10, 2, 0.5));
    /// assert!((layer.entropy - 0.5).abs() < 1e-12); // two of four: 1 bit of 2
    /// ```
    pub fn by_layer(&self) -> Vec<LayerUsage> {
        self.layers.iter().map(|experts| LayerUsage::of(experts)).collect()
    }

    /// Returns what was added since `earlier`, an earlier reading of the same
    /// model.
    pub fn since(&self, earlier: &Self) -> Self {
        let layers = self.layers.iter().enumerate().map(|(layer, experts)| {
            let before = |expert: usize| {
                earlier.layers.get(layer).and_then(|experts| experts.get(expert)).copied()
            };
            let added = |(expert, tokens): (usize, &u64)| {
                tokens.saturating_sub(before(expert).unwrap_or(0))
            };
            experts.iter().enumerate().map(added).collect()
        });
        Self { layers: layers.collect() }
    }

    /// Returns the same as counters, one for each expert of each layer.
    pub(crate) fn counters(&self) -> Vec<Counter> {
        let of_layer = |(layer, experts): (usize, &Vec<u64>)| {
            let counter = move |(expert, &value): (usize, &u64)| Counter {
                name: "tidecast_forecaster_expert_tokens_total",
                labels: vec![("layer", layer.to_string()), ("expert", expert.to_string())],
                value,
            };
            experts.iter().enumerate().map(counter).collect::<Vec<_>>()
        };
        self.layers.iter().enumerate().flat_map(of_layer).collect()
    }
}

impl LayerUsage {
    fn of(experts: &[u64]) -> Self {
        let tokens: u64 = experts.iter().sum();
        let share = |&count: &u64| if tokens == 0 { 0.0 } else { count as f64 / tokens as f64 };
        let shares: Vec<f64> = experts.iter().map(share).collect();
        let entropy: f64 =
            shares.iter().filter(|&&share| share > 0.0).map(|share| -share * share.ln()).sum();
        let most = (experts.len() as f64).ln();
        Self {
            tokens,
            entropy: if most > 0.0 { entropy / most } else { 0.0 },
            dead: experts.iter().filter(|&&count| count == 0).count(),
            shares,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_use_has_entropy_one_and_collapsed_use_none() {
        let usage = ExpertUsage { layers: vec![vec![3; 8], vec![0, 9, 0], vec![0, 0]] };
        let layers = usage.by_layer();
        assert!((layers[0].entropy - 1.0).abs() < 1e-12);
        assert_eq!((layers[0].dead, layers[0].tokens), (0, 24));
        assert_eq!((layers[1].entropy, layers[1].dead), (0.0, 2));
        assert_eq!((layers[2].entropy, layers[2].shares[0]), (0.0, 0.0));
    }

    #[test]
    fn each_expert_is_a_counter() {
        let usage = ExpertUsage { layers: vec![vec![3, 0], vec![0, 5]] };
        let counters = usage.counters();
        let labels: Vec<String> = counters
            .iter()
            .map(|one| one.labels.iter().map(|(name, value)| format!("{name}={value} ")).collect())
            .collect();
        let expected =
            ["layer=0 expert=0 ", "layer=0 expert=1 ", "layer=1 expert=0 ", "layer=1 expert=1 "];
        assert_eq!(labels, expected);
        assert_eq!(counters.iter().map(|one| one.value).collect::<Vec<_>>(), [3, 0, 0, 5]);
    }

    #[test]
    fn two_readings_tell_what_came_between() {
        let early = ExpertUsage { layers: vec![vec![1, 2]] };
        let late = ExpertUsage { layers: vec![vec![4, 2]] };
        assert_eq!(late.since(&early).layers, [[3, 0]]);
        assert_eq!(late.since(&ExpertUsage::default()), late);
    }
}
