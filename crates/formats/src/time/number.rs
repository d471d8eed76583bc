//! Numbers as they are written, to the digit.

use tidecast_stream::EpochUnit;

/// Digits kept of a number: any microsecond of 64 bits has 19, the unit's shift
/// three more.
const MAX_DIGITS: usize = 28;

/// A decimal number: `±digits · 10^exponent`, digits behind the
/// [`MAX_DIGITS`]-th cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    is_negative: bool,
    digits: u128,
    exponent: i32,
    /// Whether digits other than zero were cut off.
    is_cut: bool,
}

impl From<i64> for Decimal {
    fn from(number: i64) -> Self {
        Self {
            is_negative: number < 0,
            digits: number.unsigned_abs().into(),
            exponent: 0,
            is_cut: false,
        }
    }
}

/// Returns the whole number that `text` is, if it is one of up to 18 digits.
pub(super) fn whole(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_whole = (1..=18).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if is_whole { text.parse().ok() } else { None }
}

/// Returns the whole number that `number` is exactly, if it is one of 64 bits.
pub(super) fn exact(number: f64) -> Option<i64> {
    const END: f64 = 9_223_372_036_854_775_808.0;
    (number.fract() == 0.0 && (-END..END).contains(&number)).then_some(number as i64)
}

impl Decimal {
    /// Reads `±digits[.digits][e±digits]`, a comma for the point as well. A point
    /// may stand in front or behind, as some programs write it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (is_negative, text) = match text.as_bytes().first()? {
            b'-' => (true, text.get(1..)?),
            b'+' => (false, text.get(1..)?),
            _ => (false, text),
        };
        let mut number = Self { is_negative, digits: 0, exponent: 0, is_cut: false };
        let (mut seen, mut kept, mut has_point) = (0_usize, 0_usize, false);
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'0'..=b'9' => {
                    seen += 1;
                    if kept < MAX_DIGITS {
                        number.digits = number.digits * 10 + u128::from(byte - b'0');
                        // Zeros in front are no digits.
                        kept += usize::from(number.digits != 0);
                        number.exponent = number.exponent.checked_sub(i32::from(has_point))?;
                    } else {
                        number.is_cut |= byte != b'0';
                        number.exponent = number.exponent.checked_add(i32::from(!has_point))?;
                    }
                }
                b'.' | b',' if !has_point => has_point = true,
                b'e' | b'E' if seen > 0 => {
                    let rest = text.get(text.len() - bytes.len()..)?;
                    let digits = rest.strip_prefix(['+', '-']).unwrap_or(rest);
                    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                        return None;
                    }
                    number.exponent = number.exponent.checked_add(rest.parse().ok()?)?;
                    return Some(number);
                }
                _ => return None,
            }
        }
        (seen > 0).then_some(number)
    }

    /// Returns its size, without the sign.
    pub(crate) fn magnitude(&self) -> f64 {
        self.digits as f64 * 10_f64.powi(self.exponent)
    }

    /// Returns it as a float, near enough to compare.
    pub(super) fn to_f64(self) -> f64 {
        if self.is_negative { -self.magnitude() } else { self.magnitude() }
    }

    /// Returns the whole number it is, if it is one (of up to 128 bits).
    pub(crate) fn whole(&self) -> Option<i128> {
        let (number, is_exact) = self.scaled(self.exponent)?;
        (is_exact && !self.is_cut).then_some(number)
    }

    /// Returns the microseconds that it is in `unit`, rounded down.
    pub(super) fn micros(&self, unit: EpochUnit) -> Option<i64> {
        let shift = match unit {
            EpochUnit::Seconds => 6,
            EpochUnit::Milliseconds => 3,
            EpochUnit::Microseconds => 0,
            EpochUnit::Nanoseconds => -3,
        };
        let (micros, _) = self.scaled(self.exponent.checked_add(shift)?)?;
        i64::try_from(micros).ok()
    }

    /// Returns `±digits · 10^exponent` rounded down, and whether it is exact.
    fn scaled(&self, exponent: i32) -> Option<(i128, bool)> {
        if self.digits == 0 {
            return Some((0, true));
        }
        let digits = i128::try_from(self.digits).ok()?;
        let digits = if self.is_negative { -digits } else { digits };
        match 10_i128.checked_pow(exponent.unsigned_abs()) {
            Some(power) if exponent >= 0 => Some((digits.checked_mul(power)?, true)),
            Some(power) => Some((digits.div_euclid(power), digits.rem_euclid(power) == 0)),
            None if exponent > 0 => None,
            // So small that only its sign is left.
            None => Some((if self.is_negative { -1 } else { 0 }, false)),
        }
    }
}
