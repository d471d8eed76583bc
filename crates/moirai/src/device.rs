//! Where a network computes: the processor or a card.

use tidecast_forecast::{AUTO, LoadError, load_on};

use crate::precision::Precision;

/// A place that was found and can be used.
#[derive(Debug, Clone, Default)]
pub(crate) enum Place {
    #[default]
    Cpu,
    #[cfg(feature = "cuda")]
    Cuda(crate::cuda::Gpu),
}

impl Place {
    /// Returns how large matrices are kept when `asked` for so: on the
    /// processor as they are stored, on a card as f16, for its tensor cores.
    /// Of the two kinds of 16 bits it is eight times nearer to f32.
    pub(crate) fn dtype(&self, asked: Option<Precision>) -> Option<Precision> {
        match self {
            Self::Cpu => asked,
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => asked.or(Some(Precision::F16)),
        }
    }
}

/// What a device does at best.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rates {
    pub(crate) name: String,
    /// Operations a second in large matrix products.
    pub(crate) flops: f64,
    /// Bytes a second, read and written.
    pub(crate) bytes: f64,
}

impl Place {
    /// Measures a card; `None` for the processor.
    #[cfg_attr(not(feature = "cuda"), allow(unused_variables, clippy::unnecessary_wraps))]
    pub(crate) fn rates(&self, asked: Option<Precision>) -> Result<Option<Rates>, LoadError> {
        match self {
            Self::Cpu => Ok(None),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => {
                let precision = self.dtype(asked).unwrap_or(Precision::F32);
                let name = gpu.describe();
                match gpu.rates(precision) {
                    Ok((flops, bytes)) => Ok(Some(Rates { name, flops, bytes })),
                    Err(error) => {
                        let device = format!("cuda:{}", gpu.ordinal());
                        Err(LoadError::Device { device, reason: error.to_string() })
                    }
                }
            }
        }
    }
}

/// Returns the devices that a name stands for: `cuda` and `auto` for every card
/// the driver shows, if there are any, `auto` else for the CPU; all others for themselves.
///
/// A model is loaded on one device: whoever wants several loads it once for each.
///
/// ```
/// assert_eq!(tidecast_moirai::devices("cpu"), ["cpu"]);
/// assert_eq!(tidecast_moirai::devices("cuda:1"), ["cuda:1"]);
/// ```
pub fn devices(device: &str) -> Vec<String> {
    let cards = match device {
        AUTO | "cuda" => cards(),
        _ => 0,
    };
    match (cards, device) {
        (0, AUTO) => vec!["cpu".to_owned()],
        (0, device) => vec![device.to_owned()],
        _ => (0..cards).map(|ordinal| format!("cuda:{ordinal}")).collect(),
    }
}

#[cfg(feature = "cuda")]
fn cards() -> usize {
    crate::cuda::Gpu::count()
}

#[cfg(not(feature = "cuda"))]
fn cards() -> usize {
    0
}

/// Finds the best of the places that a device's name stands for.
pub(crate) fn place(device: &str) -> Result<Place, LoadError> {
    let find = |device: &str| Asked::parse(device)?.find();
    let found = load_on(device, devices(device), 1, find)?.pop();
    found.ok_or_else(|| LoadError::UnknownDevice { device: device.to_owned() })
}

/// What a device's name asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Cpu,
    /// The card of this number.
    Cuda(usize),
}

impl Asked {
    /// Reads `cpu`, `cuda` or `cuda:N`.
    pub(crate) fn parse(device: &str) -> Result<Self, LoadError> {
        match device {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            other => match other.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(ordinal)) => Ok(Self::Cuda(ordinal)),
                _ => Err(LoadError::UnknownDevice { device: device.to_owned() }),
            },
        }
    }

    /// Finds the place.
    pub(crate) fn find(self) -> Result<Place, LoadError> {
        match self {
            Self::Cpu => Ok(Place::Cpu),
            Self::Cuda(ordinal) => card(ordinal),
        }
    }
}

#[cfg(feature = "cuda")]
fn card(ordinal: usize) -> Result<Place, LoadError> {
    crate::cuda::Gpu::open(ordinal).map(Place::Cuda)
}

#[cfg(not(feature = "cuda"))]
fn card(ordinal: usize) -> Result<Place, LoadError> {
    Err(LoadError::UnsupportedDevice { device: format!("cuda:{ordinal}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_place_is_found_whatever_there_is() {
        assert!(place(AUTO).is_ok() && place("cpu").is_ok());
        assert!(matches!(place("tpu"), Err(LoadError::UnknownDevice { .. })));
    }

    #[test]
    fn names_are_read_or_refused() {
        for (name, asked) in
            [("cpu", Asked::Cpu), ("cuda", Asked::Cuda(0)), ("cuda:3", Asked::Cuda(3))]
        {
            assert_eq!(Asked::parse(name).expect("a name"), asked);
        }
        for name in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
            let error = Asked::parse(name).expect_err("no name").to_string();
            assert!(error.starts_with(&format!("unknown device `{name}`: expected `auto`")));
        }
    }
}
