//! How weights are kept.

use std::fmt;
use std::str::FromStr;

use half::{bf16, f16};

/// How weights are kept in memory; sums are f32 in any case. 16 bits halve what
/// is read from memory, the limit of small batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits, of which 10 are the fraction's (IEEE 754 binary16).
    F16,
    /// The upper 16 bits of an f32, of which 7 are the fraction's.
    Bf16,
}

impl Precision {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// Whether a finite number is still finite in this precision.
    pub(crate) fn holds(self, number: f32) -> bool {
        match self {
            Self::F32 => true,
            Self::F16 => f16::from_f32(number).is_finite(),
            Self::Bf16 => bf16::from_f32(number).is_finite(),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = UnknownDtype;

    fn from_str(text: &str) -> Result<Self, UnknownDtype> {
        match text {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "bf16" => Ok(Self::Bf16),
            other => Err(UnknownDtype { dtype: other.to_owned() }),
        }
    }
}

/// There is no such way to keep weights.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown dtype `{dtype}`: expected `f32`, `f16` or `bf16`")]
pub struct UnknownDtype {
    /// The name given.
    pub dtype: String,
}
