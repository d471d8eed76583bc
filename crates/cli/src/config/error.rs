//! What can be wrong with a configuration.

use std::io;
use std::path::PathBuf;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration `{}`: {source}; check --config", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("{place}: {message}")]
    Syntax {
        /// File, line and column.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// There is no such setting.
    #[error("{place}: there is no setting `{key}`{hint}")]
    UnknownKey {
        /// File and line, variable, or flag.
        place: String,
        /// The key as written.
        key: String,
        /// What was probably meant, or what there is.
        hint: String,
    },
    /// A setting has a value it cannot have.
    #[error("{place}: {message}")]
    Value {
        /// File and line, variable, or flag.
        place: String,
        /// What is wrong, and what was expected.
        message: String,
    },
}
