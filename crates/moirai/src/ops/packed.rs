//! Weights laid out for the matrix product.

use std::fmt;

use half::{bf16, f16};

use super::kernel::{PANEL, STRIP};
use crate::precision::Precision;

/// The weights of a linear layer in panels of [`PANEL`] outputs, each of two
/// strips `[input][STRIP]`, the last ones filled up with zeros. A strip is what
/// the narrower vector registers cross at a time: it lies in one piece, since
/// every other cache line would use half of the cache's sets. Weights of 16
/// bits stay so in memory and are widened panel by panel.
#[derive(Clone)]
pub(crate) struct Packed {
    numbers: Numbers,
    inner: usize,
    columns: usize,
}

#[derive(Clone)]
enum Numbers {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed[{}, {}; {:?}]", self.inner, self.columns, self.precision())
    }
}

impl Packed {
    /// Packs weights given as one slice of `inner` numbers for each output.
    pub(crate) fn new(outputs: &[&[f32]], inner: usize, precision: Precision) -> Self {
        let columns = outputs.len();
        let numbers = match precision {
            Precision::F32 => Numbers::F32(panels(outputs, inner, |number| number)),
            Precision::F16 => Numbers::F16(panels(outputs, inner, f16::from_f32)),
            Precision::Bf16 => Numbers::Bf16(panels(outputs, inner, bf16::from_f32)),
        };
        Self { numbers, inner, columns }
    }

    /// Packs a matrix `[inner, columns]` whose rows begin `stride` numbers
    /// apart, as f32.
    pub(crate) fn from_rows(data: &[f32], inner: usize, columns: usize, stride: usize) -> Self {
        let mut numbers = vec![0f32; columns.div_ceil(PANEL) * inner * PANEL];
        for (strip, out) in numbers.chunks_exact_mut(inner * STRIP).enumerate() {
            let first = (strip * STRIP).min(columns);
            let width = STRIP.min(columns - first);
            for (index, out) in out.as_chunks_mut::<STRIP>().0.iter_mut().enumerate() {
                let row = &data[index * stride + first..];
                match row.first_chunk() {
                    Some(whole) if width == STRIP => *out = *whole,
                    _ => out[..width].copy_from_slice(&row[..width]),
                }
            }
        }
        Self { numbers: Numbers::F32(numbers), inner, columns }
    }

    /// Returns the inputs: the length of a row it multiplies.
    pub(crate) fn inner(&self) -> usize {
        self.inner
    }

    /// Returns the outputs.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn precision(&self) -> Precision {
        match self.numbers {
            Numbers::F32(_) => Precision::F32,
            Numbers::F16(_) => Precision::F16,
            Numbers::Bf16(_) => Precision::Bf16,
        }
    }

    /// Returns the bytes it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        match &self.numbers {
            Numbers::F32(numbers) => size_of_val(numbers.as_slice()),
            Numbers::F16(numbers) => size_of_val(numbers.as_slice()),
            Numbers::Bf16(numbers) => size_of_val(numbers.as_slice()),
        }
    }

    pub(super) fn panels(&self) -> usize {
        self.columns.div_ceil(PANEL)
    }

    #[inline(always)]
    pub(super) fn panel(&self, index: usize) -> Panel<'_> {
        let size = self.inner * PANEL;
        let range = index * size..(index + 1) * size;
        match &self.numbers {
            Numbers::F32(numbers) => Panel::F32(&numbers[range]),
            Numbers::F16(numbers) => Panel::F16(&numbers[range]),
            Numbers::Bf16(numbers) => Panel::Bf16(&numbers[range]),
        }
    }
}

/// One panel's weights: two strips `[input][STRIP]`.
#[derive(Clone, Copy)]
pub(super) enum Panel<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
}

impl<'a> Panel<'a> {
    /// Widens weights of 16 bits into `wide`.
    #[inline(always)]
    pub(super) fn widened(self, wide: &'a mut Vec<f32>) -> Self {
        match self {
            Self::F32(_) => return self,
            Self::F16(weights) => widen_all(weights, wide),
            Self::Bf16(weights) => widen_all(weights, wide),
        }
        Self::F32(wide)
    }
}

#[inline(always)]
fn widen_all<W: Weight>(weights: &[W], wide: &mut Vec<f32>) {
    wide.resize(weights.len(), 0.0);
    wide.iter_mut().zip(weights).for_each(|(wide, weight)| *wide = weight.wide());
}

/// A weight as it is kept in memory.
pub(super) trait Weight: Copy {
    fn wide(self) -> f32;

    /// Returns the weights as f32, in `wide` if they are not.
    #[inline(always)]
    fn widened<'a>(weights: &'a [Self; STRIP], wide: &'a mut [f32; STRIP]) -> &'a [f32; STRIP] {
        wide.iter_mut().zip(weights).for_each(|(wide, weight)| *wide = weight.wide());
        wide
    }
}

impl Weight for f32 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }

    #[inline(always)]
    fn widened<'a>(weights: &'a [f32; STRIP], _: &'a mut [f32; STRIP]) -> &'a [f32; STRIP] {
        weights
    }
}

impl Weight for bf16 {
    #[inline(always)]
    fn wide(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

impl Weight for f16 {
    /// The value of a finite number: its exponent and mantissa stand 13 bits
    /// higher in an f32 whose exponent is 112 too small. Unlike a conversion
    /// instruction, a loop of this becomes vector code of any width.
    #[inline(always)]
    fn wide(self) -> f32 {
        const SCALE: f32 = f32::from_bits((127 + 112) << 23);
        let bits = self.to_bits();
        let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * SCALE;
        f32::from_bits(magnitude.to_bits() | u32::from(bits & 0x8000) << 16)
    }
}

fn panels<T: Copy + Default>(
    outputs: &[&[f32]],
    inner: usize,
    number: impl Fn(f32) -> T,
) -> Vec<T> {
    let mut all = vec![T::default(); outputs.len().div_ceil(PANEL) * inner * PANEL];
    for (strip, outputs) in all.chunks_exact_mut(inner * STRIP).zip(outputs.chunks(STRIP)) {
        for (column, output) in outputs.iter().enumerate() {
            for (row, &weight) in strip.as_chunks_mut::<STRIP>().0.iter_mut().zip(*output) {
                row[column] = number(weight);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_f16_keeps_its_value() {
        for bits in 0..=u16::MAX {
            let number = f16::from_bits(bits);
            if number.is_finite() {
                assert_eq!(number.wide().to_bits(), number.to_f32().to_bits(), "{bits:#x}");
            }
        }
    }
}
