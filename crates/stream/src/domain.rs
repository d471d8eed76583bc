//! The values that a quantity can have: what a forecast of it may say.

/// Observed steps from which on a context that is all one value is taken to be constant.
const STEPS_OF_A_CONSTANT: usize = 16;

/// Observed steps from which on a context of whole numbers, none of them negative, is
/// taken to be one of counts.
const STEPS_OF_COUNTS: usize = 64;

/// From here on f64 does not tell whole numbers apart.
const LARGEST_COUNT: f64 = 9_007_199_254_740_992.0;

/// The values that a series can have.
///
/// ```
/// use tidecast_stream::Domain;
/// let cars = Domain { lower: Some(0.0), upper: Some(30.5), integer: true };
/// assert_eq!([-0.2, 0.6, 31.0].map(|value| cars.nearest(value)), [0.0, 1.0, 30.0]);
/// assert!(Domain::ANY.is_any() && Domain::ANY.nearest(f64::NAN).is_nan());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Domain {
    /// The least one.
    pub lower: Option<f64>,
    /// The largest one.
    pub upper: Option<f64>,
    /// Whether only whole numbers are.
    pub integer: bool,
}

impl Domain {
    /// All numbers.
    pub const ANY: Self = Self { lower: None, upper: None, integer: false };

    /// Whether all numbers are in it.
    pub fn is_any(&self) -> bool {
        *self == Self::ANY
    }

    /// Returns the value of the domain that is nearest; of equally near ones the one
    /// farther from zero. NaN stays.
    pub fn nearest(&self, value: f64) -> f64 {
        let value = if self.integer { value.round() } else { value };
        let (least, largest) = self.ends();
        self.within(value, least, largest)
    }

    /// Returns the least and the largest value of it: the bounds, or the whole numbers
    /// inside of them.
    pub fn ends(&self) -> (Option<f64>, Option<f64>) {
        let whole = |bound: f64, rounded: f64| if self.integer { rounded } else { bound };
        (
            self.lower.map(|bound| whole(bound, bound.ceil())),
            self.upper.map(|bound| whole(bound, bound.floor())),
        )
    }

    /// Returns the nearest value between the bounds: of means, which need not be whole
    /// where values are.
    pub fn bounded(&self, value: f64) -> f64 {
        self.within(value, self.lower, self.upper)
    }

    fn within(&self, value: f64, lower: Option<f64>, upper: Option<f64>) -> f64 {
        match (lower, upper) {
            (Some(lower), _) if value < lower => lower,
            (_, Some(upper)) if value > upper => upper,
            // Adding nothing makes -0, to which little below zero is rounded, a 0.
            _ => value + 0.0,
        }
    }
}

/// What is said of a domain; what is not is found in a series' own context.
///
/// ```
/// use tidecast_stream::{Domain, DomainRule};
/// let counts: Vec<f64> = (0..100).map(|step| f64::from(step % 7)).collect();
/// let found = DomainRule::default().of(&counts);
/// assert_eq!(found, Domain { lower: Some(0.0), upper: None, integer: true });
/// assert_eq!(DomainRule::default().of(&[2.5; 20]).nearest(-3.0), 2.5);
/// let any = DomainRule { integer: Some(false), non_negative: Some(false), ..DomainRule::default() };
/// assert!(any.of(&counts).is_any());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DomainRule {
    /// The least value.
    pub lower: Option<f64>,
    /// The largest value.
    pub upper: Option<f64>,
    /// Whether values are whole; unsaid, a long context decides.
    pub integer: Option<bool>,
    /// Whether no value is negative; unsaid, a long context of counts decides.
    pub non_negative: Option<bool>,
}

impl DomainRule {
    /// Returns the domain of a series with this context; NaN is a missing value.
    ///
    /// A long context of whole numbers, none of them negative, is one of counts. One that
    /// is all one value is constant: that is its domain, whatever was said.
    pub fn of(&self, context: &[f64]) -> Domain {
        let (mut count, mut are_whole) = (0, true);
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in context.iter().copied().filter(|value| value.is_finite()) {
            count += 1;
            are_whole &= value.fract() == 0.0;
            (least, most) = (least.min(value), most.max(value));
        }
        let are_counts =
            count >= STEPS_OF_COUNTS && are_whole && least >= 0.0 && most < LARGEST_COUNT;
        let zero = self.non_negative.unwrap_or(are_counts && self.lower.is_none());
        let zero = zero.then_some(0.0);
        let said = Domain {
            lower: self.lower.map_or(zero, |lower| Some(lower.max(zero.unwrap_or(lower)))),
            upper: self.upper,
            integer: self.integer.unwrap_or(are_counts),
        };
        if count >= STEPS_OF_A_CONSTANT && least == most {
            let constant = Some(said.nearest(least));
            return Domain { lower: constant, upper: constant, integer: said.integer };
        }
        said
    }

    /// Returns the least value said where no value is left: the largest is below it.
    ///
    /// ```
    /// use tidecast_stream::DomainRule;
    /// let rule = |lower, upper| DomainRule {
    ///     lower: Some(lower),
    ///     upper: Some(upper),
    ///     integer: Some(true),
    ///     ..DomainRule::default()
    /// };
    /// assert_eq!(rule(1.2, 1.8).contradiction(), Some(1.2));
    /// assert_eq!(rule(1.2, 2.8).contradiction(), None);
    /// ```
    pub fn contradiction(&self) -> Option<f64> {
        let zero = (self.non_negative == Some(true)).then_some(0.0);
        let lower = self.lower.into_iter().chain(zero).fold(f64::NEG_INFINITY, f64::max);
        let upper = self.upper.unwrap_or(f64::INFINITY);
        let is_none = match self.integer {
            Some(true) => lower.ceil() > upper.floor(),
            _ => lower > upper,
        };
        is_none.then_some(lower)
    }
}
