//! How a ring says a number.

/// How codes and values follow from each other; two of one form are the same numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Form {
    /// The whole number that code 0 means.
    least: u64,
    scale: Scale,
    /// Bytes of a code.
    width: u8,
}

/// How a value becomes a whole number, greater for greater ones (of their size, where
/// it is said of bits).
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scale {
    /// The value times this power of ten, for values that dividing gives back to the bit:
    /// `19.25` is 1925 of 100. A decimal text is read as the double next to it, which is
    /// what such a division yields.
    Decimals(u8),
    /// The value's bits: one number above the other for values of one sign.
    Bits,
    /// The same with the sign last.
    SignLast,
}

/// Powers of ten that are exact, as far as more digits leave codes that are narrower than bits.
const POWERS: [f64; 13] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12];

/// Codes from the greatest one down: missing, 0 and -0.
const SPECIAL: u64 = 3;

/// What 0 is where numbers below it are to be, too.
const MIDDLE: u64 = 1 << 63;

impl Default for Form {
    /// Returns a form for values of which none is known.
    fn default() -> Self {
        Self { least: MIDDLE, scale: Scale::Decimals(0), width: 1 }
    }
}

impl Form {
    /// 8 bytes, as they are.
    const WHOLE: Self = Self { least: 0, scale: Scale::Bits, width: 8 };

    /// Returns the narrowest form that can say these values, with room for others
    /// of their kind.
    pub(super) fn of(values: &[f64]) -> Self {
        let plain = || values.iter().copied().filter(|value| special(*value).is_none());
        let scale_for = |digits: u8, value: f64| {
            let more = digits..POWERS.len() as u8;
            more.into_iter().find(|digits| Scale::Decimals(*digits).number(value).is_some())
        };
        let decimals = plain().try_fold(0, scale_for);
        let decimals = decimals.and_then(|digits| Self::over(Scale::Decimals(digits), plain()));
        // No bits are narrower than two bytes unless they are all but the same.
        if let Some(form) = decimals.filter(|form| form.width <= 2) {
            return form;
        }
        let has_both_signs = plain().any(|value| value > 0.0) && plain().any(|value| value < 0.0);
        let scale = if has_both_signs { Scale::SignLast } else { Scale::Bits };
        let bits = Self::over(scale, plain());
        let narrower = |form: &Self| bits.is_none_or(|bits| form.width <= bits.width);
        decimals.filter(narrower).or(bits).unwrap_or(Self::WHOLE)
    }

    /// Returns the narrowest form of this scale; `None` if it would be no narrower than 8
    /// bytes, or does not do.
    fn over(scale: Scale, values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut range: Option<(u64, u64)> = None;
        for value in values {
            let number = scale.number(value)?;
            let (least, greatest) = range.unwrap_or((number, number));
            range = Some((least.min(number), greatest.max(number)));
        }
        let Some((least, greatest)) = range else { return Some(Self::default()) };
        let span = greatest - least;
        // An eighth on both sides, so that a series that drifts is not written anew at each
        // step. Of the widest codes that would leave many means to none.
        let wanted = |width: u8| if width < 7 { span.saturating_add(span / 4) } else { span };
        let width = (1..8).find(|width| wanted(*width) <= last(*width))?;
        // It may go below 0: differences are what counts.
        let least = least.wrapping_sub((last(width) - span) / 2);
        Some(Self { least, scale, width })
    }

    pub(super) fn width(self) -> usize {
        self.width.into()
    }

    /// Returns a value's code; `None` if it has none.
    pub(super) fn code(self, value: f64) -> Option<u64> {
        if self.width == 8 {
            return Some(value.to_bits());
        }
        if let Some(special) = special(value) {
            return Some(last(self.width) + 1 + special);
        }
        let code = self.scale.number(value)?.wrapping_sub(self.least);
        (code <= last(self.width)).then_some(code)
    }

    /// Returns the value of a code.
    pub(super) fn value(self, code: u64) -> f64 {
        if self.width == 8 {
            return f64::from_bits(code);
        }
        match code.checked_sub(last(self.width) + 1) {
            None => self.scale.value(self.least.wrapping_add(code)),
            Some(special) => SPECIALS.get(special as usize).copied().unwrap_or(f64::NAN),
        }
    }

    /// Appends the values of codes that lie one after the other.
    pub(super) fn values(self, codes: &[u8], values: &mut Vec<f64>) {
        match self.width {
            1 => self.values_of::<1>(codes, values),
            2 => self.values_of::<2>(codes, values),
            3 => self.values_of::<3>(codes, values),
            4 => self.values_of::<4>(codes, values),
            5 => self.values_of::<5>(codes, values),
            6 => self.values_of::<6>(codes, values),
            7 => self.values_of::<7>(codes, values),
            _ => self.values_of::<8>(codes, values),
        }
    }

    /// The loop for one width, which the compiler has to know for it to be a fast one.
    fn values_of<const WIDTH: usize>(self, codes: &[u8], values: &mut Vec<f64>) {
        let (codes, _) = codes.as_chunks::<WIDTH>();
        let form = Self { width: WIDTH as u8, ..self };
        match self.scale {
            Scale::Decimals(digits) => {
                let form = Self { scale: Scale::Decimals(digits), ..form };
                values.extend(codes.iter().map(|code| form.value(read(code))));
            }
            Scale::Bits => {
                let form = Self { scale: Scale::Bits, ..form };
                values.extend(codes.iter().map(|code| form.value(read(code))));
            }
            Scale::SignLast => {
                let form = Self { scale: Scale::SignLast, ..form };
                values.extend(codes.iter().map(|code| form.value(read(code))));
            }
        }
    }
}

impl Scale {
    /// Returns the whole number of a value; `None` if there is none that gives it back.
    fn number(self, value: f64) -> Option<u64> {
        match self {
            Self::Decimals(digits) => {
                // Adding and subtracting this rounds to whole numbers, as long as they are
                // smaller than 2^51.
                const ROUNDS: f64 = 6_755_399_441_055_744.0;
                let power = power(digits);
                let scaled = value * power;
                let number = (scaled + ROUNDS) - ROUNDS;
                let is_exact = scaled.abs() < (1_u64 << 51) as f64
                    && (number / power).to_bits() == value.to_bits();
                is_exact.then_some((number as i64 as u64) ^ MIDDLE)
            }
            Self::Bits => Some(value.to_bits()),
            Self::SignLast => Some(value.to_bits().rotate_left(1)),
        }
    }

    fn value(self, number: u64) -> f64 {
        match self {
            Self::Decimals(digits) => (number ^ MIDDLE) as i64 as f64 / power(digits),
            Self::Bits => f64::from_bits(number),
            Self::SignLast => f64::from_bits(number.rotate_right(1)),
        }
    }
}

fn power(digits: u8) -> f64 {
    POWERS.get(usize::from(digits)).copied().unwrap_or(f64::NAN)
}

/// Values with a code of their own, in the order of these.
const SPECIALS: [f64; SPECIAL as usize] = [f64::NAN, 0.0, -0.0];

/// Returns which value with a code of its own it is.
fn special(value: f64) -> Option<u64> {
    let is_it = |special: &f64| special.to_bits() == value.to_bits();
    SPECIALS.iter().position(is_it).map(|place| place as u64)
}

/// Returns the last code that is no special one.
fn last(width: u8) -> u64 {
    (1_u64 << (8 * u32::from(width))) - 1 - SPECIAL
}

/// Reads a code.
pub(super) fn read(bytes: &[u8]) -> u64 {
    let mut code = [0; 8];
    code.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    u64::from_le_bytes(code)
}

/// Writes a code in as many bytes as there are.
pub(super) fn write(bytes: &mut [u8], code: u64) {
    bytes.iter_mut().zip(code.to_le_bytes()).for_each(|(to, from)| *to = from);
}
