//! Families of models, and loading one of them.

use std::error::Error;
use std::path::PathBuf;

use tidecast_stream::ModelFamily;

use crate::progress::{DownloadProgress, Logged};
use crate::provider::Provider;
use crate::spec::{AUTO, DEVICE, ModelSpec};

/// A family of models: all that whoever gathers several has to know of one.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// Its name and its options.
    pub about: ModelFamily,
    /// Returns the devices that a name stands for, the best first, for [`load_on`]: a model
    /// is loaded on one of them, and whoever wants several loads it once for each.
    pub devices: fn(&str) -> Vec<String>,
    /// Loads a model of it.
    pub load: Load,
}

/// Loads a model of a family; `progress` hears of a download from the hub.
pub type Load =
    fn(&ModelSpec, &mut (dyn DownloadProgress + Send)) -> Result<Box<dyn Provider>, LoadError>;

/// Returns the family that a spec names.
///
/// # Errors
/// If there is none of that name among `families`, or it has not all of the options.
pub fn family<'a>(families: &'a [Family], spec: &ModelSpec) -> Result<&'a Family, LoadError> {
    let found = families.iter().find(|family| family.about.name == spec.provider);
    let family = found.ok_or_else(|| LoadError::UnknownProvider {
        provider: spec.provider.clone(),
        expected: quoted(families.iter().map(|family| family.about.name)),
    })?;
    let is_known = |name: &&str| family.about.option(name).is_some();
    match spec.options.names().find(|name| !is_known(name)) {
        None => Ok(family),
        Some(option) => Err(LoadError::UnknownOption {
            option: option.to_owned(),
            provider: spec.provider.clone(),
            expected: quoted(
                family.about.options.iter().map(|o| o.name).filter(|name| *name != DEVICE.name),
            ),
        }),
    }
}

/// Loads a model of one of `families`. A download from the hub is told to the log.
///
/// # Errors
/// If its family is not among them, an option is wrong, or the family cannot load it.
pub fn load(families: &[Family], spec: &ModelSpec) -> Result<Box<dyn Provider>, LoadError> {
    load_with(families, spec, &mut Logged::default())
}

/// Loads a model of one of `families`; `progress` hears of a download from the hub.
///
/// # Errors
/// As [`load`].
pub fn load_with(
    families: &[Family],
    spec: &ModelSpec,
    progress: &mut (dyn DownloadProgress + Send),
) -> Result<Box<dyn Provider>, LoadError> {
    (family(families, spec)?.load)(spec, progress)
}

/// Loads a model on the devices that `asked` stands for, on `most` of them at most.
///
/// Here `auto` is decided, for all families and callers: a device that cannot be used is
/// left out, and if none is left it is the CPU. Never both: they draw other paths, and a
/// forecast would depend on which of them was free.
///
/// # Errors
/// As `load`; a device that was named has to be usable.
pub fn load_on<T>(
    asked: &str,
    devices: Vec<String>,
    most: usize,
    mut load: impl FnMut(&str) -> Result<T, LoadError>,
) -> Result<Vec<T>, LoadError> {
    let mut loaded = Vec::new();
    for device in devices {
        if loaded.len() == most {
            break;
        }
        match load(&device) {
            Ok(model) => loaded.push(model),
            Err(error @ LoadError::Device { .. }) if asked == AUTO => {
                tracing::warn!(%error, "a card is left out");
            }
            Err(error) => return Err(error),
        }
    }
    if loaded.is_empty() {
        tracing::warn!("no card can be used: the model is loaded on the CPU");
        loaded.push(load("cpu")?);
    }
    Ok(loaded)
}

/// Returns the names as a choice: `` `a`, `b` or `c` ``.
fn quoted(names: impl Iterator<Item = &'static str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No such provider.
    #[error("unknown provider `{provider}`: expected {expected}")]
    UnknownProvider {
        /// The name given.
        provider: String,
        /// The names there are.
        expected: String,
    },
    /// The provider has no such option.
    #[error("unknown option `{option}` of a {provider} model: expected {expected}")]
    UnknownOption {
        /// The name given.
        option: String,
        /// The provider.
        provider: String,
        /// The names there are.
        expected: String,
    },
    /// An option that counts something does not.
    #[error("option `{option}` is `{value}`: expected a whole number above zero")]
    NoCount {
        /// The option.
        option: String,
        /// What was said of it.
        value: String,
    },
    /// No such device.
    #[error("unknown device `{device}`: expected `auto`, `cpu`, `cuda` or `cuda:0`")]
    UnknownDevice {
        /// The name given.
        device: String,
    },
    /// The device is not one this build can use.
    #[error(
        "device `{device}` is not supported by this build: use `cpu` or `auto`, or a build with \
         the feature `cuda`"
    )]
    UnsupportedDevice {
        /// The device given.
        device: String,
    },
    /// The card cannot be used.
    #[error("device `{device}`: {reason}")]
    Device {
        /// The device given.
        device: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The Hugging Face hub does not give the checkpoint.
    #[error("`{repository}`: {reason}")]
    Hub {
        /// `hf://owner/name`.
        repository: String,
        /// Why, and what to do.
        reason: String,
    },
    /// There is no folder for the cache of the hub.
    #[error(
        "no folder for downloads from the hub: set HF_HOME (neither HF_HUB_CACHE, HF_HOME, \
         XDG_CACHE_HOME nor HOME is set)"
    )]
    NoHubCache,
    /// A file in the cache of the hub is not what was published.
    #[error(
        "`{}` is damaged: its SHA-256 is not `{expected}`; delete the file it links to and load \
         again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The digest it was published with.
        expected: String,
    },
    /// The licence of the weights does not allow every use, and was not accepted.
    #[error(
        "the weights of `{path}` are under the licence `{licence}`, {limits}: if that suits you, \
         accept it with 'license.accept'='{licence}' in CREATE MODEL or with --accept-license \
         {licence}{}",
        accepted
            .as_ref()
            .map(|accepted| format!("; `{accepted}` was accepted, which is another one"))
            .unwrap_or_default()
    )]
    Licence {
        /// Where the weights are.
        path: String,
        /// Its name, as the hub spells it.
        licence: String,
        /// What it limits.
        limits: &'static str,
        /// What was accepted instead.
        accepted: Option<String>,
    },
    /// The thread pool could not be started.
    #[error("`{threads}` model threads could not be started: {reason}")]
    Threads {
        /// How many.
        threads: usize,
        /// Why not.
        reason: String,
    },
    /// What the family itself finds wrong, with a checkpoint for instance.
    #[error(transparent)]
    Family(Box<dyn Error + Send + Sync>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seasonal_naive;

    #[test]
    fn what_is_not_there_is_refused_with_what_is() {
        let other = Family {
            about: ModelFamily { name: "other", ..seasonal_naive::FAMILY.about },
            ..seasonal_naive::FAMILY
        };
        let families = [seasonal_naive::FAMILY, other];
        let refused = |spec: ModelSpec| {
            let loaded = load(&families, &spec).map(|model| model.info().provider.clone());
            loaded.expect_err("refused").to_string()
        };
        assert_eq!(
            refused(ModelSpec::new("arima")),
            "unknown provider `arima`: expected `seasonal-naive` or `other`"
        );
        assert_eq!(
            refused(ModelSpec::new("seasonal-naive").with("saison", 7)),
            "unknown option `saison` of a seasonal-naive model: expected `season`"
        );
        assert_eq!(
            refused(ModelSpec::new("seasonal-naive").with("season", 0)),
            "option `season` is `0`: expected a whole number above zero"
        );
    }
}
