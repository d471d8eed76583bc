//! How much arithmetic a forecast needs, and how many numbers were trained.

use super::ACTIVE_EXPERTS;
use crate::config::Config;
use crate::options::Rollout;

/// The tokens of one task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tokens {
    pub(crate) context: usize,
    /// Target variates: the tokens that predict.
    pub(crate) targets: usize,
    /// Tokens a path gets with each patch of the horizon.
    pub(crate) step: usize,
    /// Patches of the horizon.
    pub(crate) patches: usize,
    pub(crate) paths: usize,
}

/// What a network's costs follow from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Costs<'a> {
    pub(crate) config: &'a Config,
    /// Experts of a layer.
    pub(crate) experts: usize,
}

impl Costs<'_> {
    /// Returns the trained numbers: in all, and those used for one token. The
    /// centroids are none: they are a buffer.
    pub(crate) fn parameters(&self) -> (u64, u64) {
        let Config { d_model: width, d_ff: hidden, patch_width: patch, .. } = *self.config;
        let (heads, head_dim) = (self.config.heads, self.config.head_dim);
        let outputs = self.config.output.width() * patch;
        let projection =
            2 * (width * patch + width) + (width * width + width) + outputs * (width + 1);
        let shared = 2 * width + 4 * width * width + 2 * head_dim + 2 * heads;
        let expert = 3 * width * hidden;
        let outside = width + self.config.patch_sizes.len() * projection;
        let of =
            |experts: usize| (outside + self.config.layers * (shared + experts * expert)) as u64;
        (of(self.experts), of(ACTIVE_EXPERTS))
    }

    /// Returns the floating-point operations a task needs, a multiplication and
    /// an addition counting two: products with weights and of attention, where
    /// a token looks at no later one. What is left out where nothing depends on
    /// it is not counted.
    pub(crate) fn operations(&self, rollout: Rollout, tokens: Tokens) -> f64 {
        let Tokens { context, targets, step, patches, paths } = tokens;
        let row = |length: usize| {
            let (length, targets) = (length as f64, targets as f64);
            // The average token sees half of its row.
            let attention = 2.0 * self.config.d_model as f64 * length;
            length * self.of_embedding()
                + (self.config.layers - 1) as f64 * length * (self.of_layer() + attention)
                + length * self.of_keys_and_values()
                + targets
                    * (self.of_layer() - self.of_keys_and_values()
                        + 2.0 * attention
                        + self.of_head())
        };
        let later = 1..patches;
        let per_path: f64 = match rollout {
            Rollout::Exact => later.map(|done| row(context + done * step)).sum(),
            Rollout::Cached => later
                .map(|done| {
                    let seen = (context + done * step) as f64;
                    let attention = 4.0 * self.config.d_model as f64 * seen;
                    let layers = self.config.layers as f64 * (self.of_layer() + attention);
                    step as f64 * (self.of_embedding() + layers) + targets as f64 * self.of_head()
                })
                .sum(),
        };
        row(context) + paths as f64 * per_path
    }

    /// Operations of one layer for one token, without attention's products.
    fn of_layer(&self) -> f64 {
        let (width, hidden) = (self.config.d_model as f64, self.config.d_ff as f64);
        let experts = ACTIVE_EXPERTS as f64 * 6.0 * width * hidden;
        8.0 * width * width + experts + 2.0 * width * self.experts as f64
    }

    fn of_keys_and_values(&self) -> f64 {
        4.0 * (self.config.d_model as f64).powi(2)
    }

    fn of_embedding(&self) -> f64 {
        let (width, patch) = (self.config.d_model as f64, self.config.patch_width as f64);
        4.0 * patch * width + 2.0 * width * width
    }

    fn of_head(&self) -> f64 {
        let outputs = self.config.output.width() * self.config.patch_width;
        2.0 * self.config.d_model as f64 * outputs as f64
    }
}
