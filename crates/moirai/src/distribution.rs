//! The distribution a head describes: one output of uni2ts, or a mixture.
//!
//! A head's output for one token is a row of numbers, parameter by parameter:
//! first the mixture's logits (component by component), then each component's
//! parameters, each over the positions of the patch. [`Position`] reads one
//! position of such a row. Everything here is in scaled units: the value of
//! the series is `location + scale * z`.

use rand::{Rng, RngExt};
use rand_distr::{ChiSquared, Distribution, Exp1, Gamma, Poisson, StandardNormal};

use tidecast_forecast::normal_quantile;

use crate::special::{ln_gamma, softplus};

/// The floor of scale parameters: machine epsilon of f32, as in the reference.
const SMALLEST_SCALE: f64 = f32::EPSILON as f64;

/// From here on a Poisson variable is its mean: its relative spread is below
/// the resolution of f32.
const POISSON_IS_ITS_MEAN: f64 = 1e15;

/// What `distr_output` of `config.json` says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum DistributionOutput {
    Single(Component),
    Mixture(Vec<Component>),
}

/// One distribution of uni2ts' `distribution` module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Component {
    StudentT,
    Normal,
    NormalFixedScale {
        scale: f64,
    },
    /// Extended to real values in its density; a sample is an integer.
    NegativeBinomial,
    LogNormal,
    Laplace,
    LaplaceFixedScale {
        scale: f64,
    },
    Pareto,
    ParetoFixedAlpha {
        alpha: f64,
    },
}

/// One linear layer of the head: the name of its tensors below
/// `param_proj.proj` and how many numbers per position it gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeadLeaf {
    pub(crate) name: String,
    pub(crate) dim: usize,
}

impl DistributionOutput {
    /// Returns the head's layers in the order of a row.
    pub(crate) fn leaves(&self) -> Vec<HeadLeaf> {
        let leaf = |name: String, dim| HeadLeaf { name, dim };
        match self {
            Self::Single(component) => {
                component.parameters().iter().map(|name| leaf((*name).to_owned(), 1)).collect()
            }
            Self::Mixture(components) => {
                let logits = leaf("weights_logits".to_owned(), components.len());
                let parameters = components.iter().enumerate().flat_map(|(index, component)| {
                    let name = move |name| format!("components.{index}.{name}");
                    component.parameters().iter().map(move |parameter| leaf(name(parameter), 1))
                });
                std::iter::once(logits).chain(parameters).collect()
            }
        }
    }

    /// Returns the length of a row for one position.
    pub(crate) fn width(&self) -> usize {
        let parameters: usize = self.components().iter().map(|c| c.parameters().len()).sum();
        match self {
            Self::Single(_) => parameters,
            Self::Mixture(components) => components.len() + parameters,
        }
    }

    pub(crate) fn components(&self) -> &[Component] {
        match self {
            Self::Single(component) => std::slice::from_ref(component),
            Self::Mixture(components) => components,
        }
    }
}

impl Component {
    /// Returns the names of the parameters the head gives.
    pub(crate) fn parameters(&self) -> &'static [&'static str] {
        match self {
            Self::StudentT => &["df", "loc", "scale"],
            Self::Normal | Self::LogNormal | Self::Laplace => &["loc", "scale"],
            Self::NormalFixedScale { .. } | Self::LaplaceFixedScale { .. } => &["loc"],
            Self::NegativeBinomial => &["total_count", "logits"],
            Self::Pareto => &["scale", "alpha"],
            Self::ParetoFixedAlpha { .. } => &["scale"],
        }
    }

    /// Returns the parameters' values after the domain maps, raw ones given;
    /// a fixed one is filled in. Rounded to f32 as the reference's are.
    pub(crate) fn domain(&self, raw: impl Fn(usize) -> f32) -> [f64; 3] {
        let single = |value: f64| f64::from(value as f32);
        let real = |index| f64::from(raw(index));
        let positive = |index| single(softplus(real(index)));
        let scale = |index| positive(index).max(SMALLEST_SCALE);
        match *self {
            Self::StudentT => [single(2.0 + positive(0)), real(1), scale(2)],
            Self::Normal | Self::LogNormal | Self::Laplace => [real(0), scale(1), 0.0],
            Self::NormalFixedScale { scale } | Self::LaplaceFixedScale { scale } => {
                [real(0), scale, 0.0]
            }
            Self::NegativeBinomial => [positive(0), real(1), 0.0],
            Self::Pareto => [scale(0), single(2.0 + scale(1)), 0.0],
            Self::ParetoFixedAlpha { alpha } => [scale(0), alpha, 0.0],
        }
    }

    fn mean(&self, parameters: [f64; 3]) -> f64 {
        let [a, b, _] = parameters;
        match self {
            Self::StudentT => b,
            Self::Normal
            | Self::NormalFixedScale { .. }
            | Self::Laplace
            | Self::LaplaceFixedScale { .. } => a,
            Self::NegativeBinomial => a * b.exp(),
            Self::LogNormal => (a + b * b / 2.0).exp(),
            Self::Pareto | Self::ParetoFixedAlpha { .. } => {
                if b > 1.0 {
                    b * a / (b - 1.0)
                } else {
                    f64::INFINITY
                }
            }
        }
    }

    fn variance(&self, parameters: [f64; 3]) -> f64 {
        let [a, b, c] = parameters;
        match self {
            Self::StudentT => {
                if a > 2.0 {
                    c * c * a / (a - 2.0)
                } else {
                    f64::INFINITY
                }
            }
            Self::Normal | Self::NormalFixedScale { .. } => b * b,
            Self::Laplace | Self::LaplaceFixedScale { .. } => 2.0 * b * b,
            Self::NegativeBinomial => a * b.exp() * (1.0 + b.exp()),
            Self::LogNormal => (b * b).exp_m1() * (2.0 * a + b * b).exp(),
            Self::Pareto | Self::ParetoFixedAlpha { .. } => {
                let spread = || a * a * b / ((b - 1.0).powi(2) * (b - 2.0));
                if b > 2.0 { spread() } else { f64::INFINITY }
            }
        }
    }

    fn log_density(&self, parameters: [f64; 3], z: f64) -> f64 {
        let [a, b, c] = parameters;
        let half_ln_tau = 0.5 * std::f64::consts::TAU.ln();
        let normal = |z: f64, location: f64, scale: f64| {
            -0.5 * ((z - location) / scale).powi(2) - scale.ln() - half_ln_tau
        };
        match self {
            Self::StudentT => {
                let y = (z - b) / c;
                ln_gamma((a + 1.0) / 2.0)
                    - ln_gamma(a / 2.0)
                    - 0.5 * (a * std::f64::consts::PI).ln()
                    - c.ln()
                    - (a + 1.0) / 2.0 * (y * y / a).ln_1p()
            }
            Self::Normal | Self::NormalFixedScale { .. } => normal(z, a, b),
            Self::Laplace | Self::LaplaceFixedScale { .. } => -(z - a).abs() / b - (2.0 * b).ln(),
            Self::NegativeBinomial if z >= 0.0 => {
                let ln_beta = ln_gamma(1.0 + z) + ln_gamma(a) - ln_gamma(1.0 + z + a);
                -a * softplus(b) - z * softplus(-b) - ln_beta - (a + z).ln()
            }
            Self::LogNormal if z > 0.0 => normal(z.ln(), a, b) - z.ln(),
            Self::Pareto | Self::ParetoFixedAlpha { .. } if z >= a => {
                b.ln() + b * a.ln() - (b + 1.0) * z.ln()
            }
            Self::NegativeBinomial
            | Self::LogNormal
            | Self::Pareto
            | Self::ParetoFixedAlpha { .. } => f64::NEG_INFINITY,
        }
    }

    fn sample(&self, parameters: [f64; 3], random: &mut impl Rng) -> f64 {
        let [a, b, c] = parameters;
        let normal = |random: &mut _| -> f64 { StandardNormal.sample(random) };
        match self {
            Self::StudentT => match ChiSquared::new(a) {
                Ok(chi) => {
                    let z = normal(random);
                    let chi: f64 = chi.sample(random);
                    b + c * z / (chi / a).sqrt()
                }
                Err(_) => f64::NAN,
            },
            Self::Normal | Self::NormalFixedScale { .. } => a + b * normal(random),
            Self::Laplace | Self::LaplaceFixedScale { .. } => {
                let size: f64 = Exp1.sample(random);
                a + if random.random::<bool>() { b * size } else { -b * size }
            }
            Self::NegativeBinomial => poisson_of_gamma(a, b, random),
            Self::LogNormal => (a + b * normal(random)).exp(),
            Self::Pareto | Self::ParetoFixedAlpha { .. } => {
                let size: f64 = Exp1.sample(random);
                a * (size / b).exp()
            }
        }
    }
}

impl Component {
    /// Draws the point at `uniform`, which lies in (0, 1). Where the quantile function
    /// is long to compute, `uniform` says as much as it cheaply can: all of a normal and
    /// what is made of one, the numerator of Student's t, nothing of counts.
    fn draw_at(&self, parameters: [f64; 3], uniform: f64, random: &mut impl Rng) -> f64 {
        let [a, b, c] = parameters;
        match self {
            Self::StudentT => match ChiSquared::new(a) {
                Ok(chi) => {
                    let chi: f64 = chi.sample(random);
                    b + c * normal_quantile(uniform) / (chi / a).sqrt()
                }
                Err(_) => f64::NAN,
            },
            Self::Normal | Self::NormalFixedScale { .. } => a + b * normal_quantile(uniform),
            Self::Laplace | Self::LaplaceFixedScale { .. } if uniform < 0.5 => {
                a + b * (2.0 * uniform).ln()
            }
            Self::Laplace | Self::LaplaceFixedScale { .. } => a - b * (2.0 * (1.0 - uniform)).ln(),
            Self::NegativeBinomial => poisson_of_gamma(a, b, random),
            Self::LogNormal => (a + b * normal_quantile(uniform)).exp(),
            Self::Pareto | Self::ParetoFixedAlpha { .. } => a * (-(-uniform).ln_1p() / b).exp(),
        }
    }
}

/// The negative binomial as a Poisson variable whose rate is Gamma with this
/// shape and rate `exp(-logits)`.
fn poisson_of_gamma(shape: f64, logits: f64, random: &mut impl Rng) -> f64 {
    if shape.is_nan() || logits.is_nan() {
        return f64::NAN;
    }
    // A shape or a rate of zero is all mass at zero.
    let Ok(gamma) = Gamma::new(shape, 1.0) else { return 0.0 };
    let rate = gamma.sample(random) * logits.exp();
    if rate >= POISSON_IS_ITS_MEAN {
        return rate;
    }
    Poisson::new(rate).map_or(0.0, |poisson| poisson.sample(random))
}

/// The distribution at one position of a patch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position<'a> {
    output: &'a DistributionOutput,
    /// The head's row for the token.
    row: &'a [f32],
    patch_width: usize,
    position: usize,
}

impl<'a> Position<'a> {
    /// Reads position `position` of a row of `output.width() * patch_width`
    /// numbers.
    pub(crate) fn new(
        output: &'a DistributionOutput,
        row: &'a [f32],
        patch_width: usize,
        position: usize,
    ) -> Self {
        debug_assert_eq!(row.len(), output.width() * patch_width);
        Self { output, row, patch_width, position }
    }

    fn number(&self, index: usize) -> f32 {
        self.row[index * self.patch_width + self.position]
    }

    /// Returns the raw mixture logit of a component; 0 without a mixture.
    pub(crate) fn logit(&self, component: usize) -> f32 {
        match self.output {
            DistributionOutput::Single(_) => 0.0,
            DistributionOutput::Mixture(_) => self.number(component),
        }
    }

    /// Calls `visit` with each component, its weight and its parameters after
    /// the domain maps.
    fn each(&self, mut visit: impl FnMut(&Component, f64, [f64; 3])) {
        let components = self.output.components();
        let logit = |index| f64::from(self.logit(index));
        let largest = (0..components.len()).map(logit).fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = (0..components.len()).map(|c| (logit(c) - largest).exp()).sum();
        for (index, component) in components.iter().enumerate() {
            let weight = (logit(index) - largest).exp() / total;
            visit(component, weight, self.parameters(index));
        }
    }

    /// Returns the parameters of a component after the domain maps.
    pub(crate) fn parameters(&self, component: usize) -> [f64; 3] {
        let components = self.output.components();
        let logits = match self.output {
            DistributionOutput::Single(_) => 0,
            DistributionOutput::Mixture(_) => components.len(),
        };
        let before: usize = components[..component].iter().map(|c| c.parameters().len()).sum();
        components[component].domain(|index| self.number(logits + before + index))
    }

    /// Returns the mean, in scaled units.
    pub(crate) fn mean(&self) -> f64 {
        let mut mean = 0.0;
        self.each(|component, weight, parameters| mean += weight * component.mean(parameters));
        mean
    }

    /// Returns the variance, in squared scaled units: the mean of the
    /// components' variances plus the variance of their means.
    pub(crate) fn variance(&self) -> f64 {
        let mean = self.mean();
        let mut variance = 0.0;
        self.each(|component, weight, parameters| {
            let off = component.mean(parameters) - mean;
            variance += weight * (component.variance(parameters) + off * off);
        });
        variance
    }

    /// Returns the log density at `z`, in scaled units.
    pub(crate) fn log_density(&self, z: f64) -> f64 {
        let mut terms = Vec::with_capacity(self.output.components().len());
        self.each(|component, weight, parameters| {
            terms.push(weight.ln() + component.log_density(parameters, z));
        });
        let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if largest == f64::NEG_INFINITY {
            return largest;
        }
        largest + terms.iter().map(|term| (term - largest).exp()).sum::<f64>().ln()
    }

    /// Reads the distribution once, to be drawn from several times.
    pub(crate) fn prepare(&self, prepared: &mut Prepared<'a>) {
        prepared.components = self.output.components();
        prepared.parts.clear();
        let mut up_to = 0.0;
        self.each(|_, weight, parameters| {
            prepared.parts.push((up_to, weight, parameters));
            up_to += weight;
        });
    }

    /// Draws from the distribution: first a component, then from it.
    pub(crate) fn sample(&self, random: &mut impl Rng) -> f64 {
        let count = self.output.components().len();
        let component = if count == 1 { 0 } else { self.choose(count, random.random::<f32>()) };
        self.output.components()[component].sample(self.parameters(component), random)
    }

    /// Returns the component a uniform number in [0, 1) falls on.
    fn choose(&self, count: usize, uniform: f32) -> usize {
        let largest = (0..count).map(|c| self.logit(c)).fold(f32::NEG_INFINITY, f32::max);
        let weight = |component: usize| (self.logit(component) - largest).exp();
        let total: f32 = (0..count).map(weight).sum();
        let mut left = uniform * total;
        for component in 0..count {
            left -= weight(component);
            if left < 0.0 {
                return component;
            }
        }
        count - 1
    }
}

/// A distribution in the form in which it is drawn from at given places.
#[derive(Debug, Default)]
pub(crate) struct Prepared<'a> {
    components: &'a [Component],
    /// Of each component: where its share of (0, 1) begins, its weight, its parameters.
    parts: Vec<(f64, f64, [f64; 3])>,
}

impl Prepared<'_> {
    /// Draws the point at `uniform`, which lies in (0, 1): it chooses the component,
    /// and what is left of it the point within, as far as one number says it;
    /// `random` says the rest. For a uniform `uniform` it is a draw from the distribution.
    pub(crate) fn draw_at(&self, uniform: f64, random: &mut impl Rng) -> f64 {
        let last = self.parts.len().saturating_sub(1);
        let index = self.parts.iter().skip(1).take_while(|(start, ..)| *start <= uniform).count();
        let index = index.min(last);
        let (Some(component), Some((start, weight, parameters))) =
            (self.components.get(index), self.parts.get(index))
        else {
            return f64::NAN;
        };
        // NaN weights and parameters stay what they are.
        let within = (uniform - start) / weight;
        let within = if within.is_nan() { within } else { within.clamp(1e-15, 1.0 - 1e-15) };
        component.draw_at(*parameters, within, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const ALL: [Component; 9] = [
        Component::StudentT,
        Component::Normal,
        Component::NormalFixedScale { scale: 0.5 },
        Component::NegativeBinomial,
        Component::LogNormal,
        Component::Laplace,
        Component::LaplaceFixedScale { scale: 0.5 },
        Component::Pareto,
        Component::ParetoFixedAlpha { alpha: 6.0 },
    ];

    /// A row for one position with these raw parameters: tame tails.
    fn row(component: &Component) -> Vec<f32> {
        match component {
            Component::StudentT => vec![6.0, -0.5, 0.3],
            Component::NegativeBinomial => vec![2.0, 0.5],
            Component::Pareto => vec![0.2, 6.0],
            Component::LogNormal => vec![0.3, -1.0],
            other => vec![0.3; other.parameters().len()],
        }
    }

    #[test]
    fn draws_have_the_mean_and_variance_they_should() {
        for component in ALL {
            let (output, row) = (DistributionOutput::Single(component), row(&component));
            let position = Position::new(&output, &row, 1, 0);
            let mut random = ChaCha8Rng::seed_from_u64(1);
            let count = 200_000;
            let draws: Vec<f64> = (0..count).map(|_| position.sample(&mut random)).collect();
            let mean = draws.iter().sum::<f64>() / f64::from(count);
            let variance =
                draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / f64::from(count);
            let error = (mean - position.mean()).abs() / position.variance().sqrt();
            assert!(error < 5.0 / f64::from(count).sqrt(), "{component:?}: mean off by {error}");
            let error = (variance / position.variance() - 1.0).abs();
            assert!(error < 0.05, "{component:?}: variance off by {error}");
        }
    }

    #[test]
    fn densities_hold_all_mass() {
        for component in ALL {
            let (output, row) = (DistributionOutput::Single(component), row(&component));
            let position = Position::new(&output, &row, 1, 0);
            // The negative binomial's density is one of counts.
            let (step, start) =
                if component == Component::NegativeBinomial { (1.0, 0) } else { (1e-3, -60_000) };
            let mass: f64 = (start..400_000)
                .map(|index| position.log_density(f64::from(index) * step).exp() * step)
                .sum();
            assert!((mass - 1.0).abs() < 5e-3, "{component:?}: {mass}");
        }
    }

    #[test]
    fn a_mixture_draws_its_components_by_weight() {
        let scale = |scale| Component::NormalFixedScale { scale };
        let output = DistributionOutput::Mixture(vec![scale(1e-3), scale(1e-3)]);
        let weight: f32 = 0.2;
        // Logits, then the two locations.
        let row = [weight.ln(), (1.0 - weight).ln(), -3.0, 7.0];
        let position = Position::new(&output, &row, 1, 0);
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let low = (0..100_000).filter(|_| position.sample(&mut random) < 0.0).count();
        assert!((low as f64 / 1e5 - 0.2).abs() < 0.006, "{low}");
        assert!((position.mean() - 5.0).abs() < 1e-6);
        assert!((position.variance() - 16.0).abs() < 1e-4);
        assert_eq!(output.width(), output.leaves().iter().map(|leaf| leaf.dim).sum::<usize>());
    }

    #[test]
    fn degenerate_parameters_give_no_panic() {
        let output = DistributionOutput::Single(Component::NegativeBinomial);
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut draw = |row: [f32; 2]| Position::new(&output, &row, 1, 0).sample(&mut random);
        assert_eq!(draw([-200.0, 0.0]), 0.0);
        assert_eq!(draw([1.0, -800.0]), 0.0);
        assert!(draw([1.0, 60.0]) > 1e15);
        assert!(draw([f32::NAN, 0.0]).is_nan());
        assert!(draw([1.0, f32::NAN]).is_nan());
        assert_eq!(draw([1.0, 800.0]), f64::INFINITY);
        let output = DistributionOutput::Single(Component::StudentT);
        let mut draw = |row: [f32; 3]| Position::new(&output, &row, 1, 0).sample(&mut random);
        assert!(draw([f32::NAN, 0.0, 1.0]).is_nan());
    }
}
