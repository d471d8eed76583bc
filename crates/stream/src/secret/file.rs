//! Settings whose value stands in a file: secrets that Docker, Kubernetes and systemd
//! hand to a process that way.

use std::fs::File;
use std::io::Read;

use super::{ClientProperties, OWN_FILES};

/// What a property's name ends with when its value is the name of a file.
const ENDING: &str = ".file";

/// More than any secret or chain of certificates, and less than a file named by mistake.
const MOST_BYTES: u64 = 1 << 20;

/// Why a file gives no value for a property. The content is in none of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyFileError {
    /// It stands there by itself, too.
    #[error("property `{name}` is given twice, as `{name}` and as `{name}.file`; expected one")]
    Twice {
        /// The property.
        name: String,
    },
    /// It cannot be read.
    #[error(
        "property `{name}.file`: cannot read `{path}`: {reason}; expected a file that this process \
         may read and that holds `{name}` alone"
    )]
    Unreadable {
        /// The property whose value the file is.
        name: String,
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// It holds something else than a value.
    #[error("property `{name}.file`: `{path}` {fault}; expected a file that holds `{name}` alone")]
    Content {
        /// The property whose value the file is.
        name: String,
        /// The file.
        path: String,
        /// What is wrong.
        fault: &'static str,
    },
}

/// Returns the property whose value is the content of a file, if `name` names that file.
///
/// ```
/// use tidecast_stream::secret::property_of_file;
/// assert_eq!(property_of_file("sasl.password.file"), Some("sasl.password"));
/// assert_eq!(property_of_file("sasl.oauthbearer.assertion.file"), None, "librdkafka's own");
/// ```
pub fn property_of_file(name: &str) -> Option<&str> {
    match OWN_FILES.contains(&name) {
        true => None,
        false => name.strip_suffix(ENDING).filter(|property| !property.is_empty()),
    }
}

/// Returns the other name under which the value of a property can be said.
pub fn other_name(name: &str) -> String {
    match property_of_file(name) {
        Some(property) => property.to_owned(),
        None => format!("{name}{ENDING}"),
    }
}

impl ClientProperties {
    /// Returns these with the content of files in the place of their names, as it is now:
    /// `sasl.password.file` becomes `sasl.password`. Line ends behind the content are
    /// not part of it.
    ///
    /// # Errors
    /// If a file cannot be read, holds nothing or no text, or a property is said twice.
    pub fn with_files_read(&self) -> Result<Self, PropertyFileError> {
        let mut read = Self::default();
        for (name, value) in self.iter() {
            let Some(property) = property_of_file(name) else {
                read.insert(name, value);
                continue;
            };
            if self.get(property).is_some() {
                return Err(PropertyFileError::Twice { name: property.to_owned() });
            }
            read.insert(property, content(property, value)?);
        }
        Ok(read)
    }
}

fn content(name: &str, path: &str) -> Result<String, PropertyFileError> {
    let fault = |fault: &'static str| PropertyFileError::Content {
        name: name.to_owned(),
        path: path.to_owned(),
        fault,
    };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes)).map_err(
        |error| PropertyFileError::Unreadable {
            name: name.to_owned(),
            path: path.to_owned(),
            reason: error.to_string(),
        },
    )?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(fault("is larger than 1 MiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| fault("is no text"))?;
    match text.trim_end_matches(['\n', '\r']) {
        text if text.trim().is_empty() => Err(fault("is empty")),
        text if text.contains('\0') => Err(fault("is no text")),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A folder of this test's own, gone when it is dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder =
                std::env::temp_dir().join(format!("tidecast-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn write(&self, name: &str, content: &[u8]) -> String {
            let path = self.0.join(name);
            std::fs::write(&path, content).unwrap();
            path.display().to_string()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn read(name: &str, path: &str) -> Result<ClientProperties, String> {
        let properties: ClientProperties =
            [(name, path), ("client.id", "me")].into_iter().collect();
        properties.with_files_read().map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_is_read_without_the_line_ends_behind_it() {
        let folder = Folder::new("secrets");
        let pem = "-----BEGIN X-----\nAA==\n-----END X-----";
        for (content, expected) in [
            ("hush", "hush"),
            ("hush\n", "hush"),
            ("hush\r\n", "hush"),
            (" two words \n\n", " two words "),
            (&format!("{pem}\n"), pem),
        ] {
            let properties = read("sasl.password.file", &folder.write("it", content.as_bytes()));
            let expected: ClientProperties =
                [("client.id", "me"), ("sasl.password", expected)].into_iter().collect();
            assert_eq!(properties, Ok(expected));
        }
    }

    #[test]
    fn what_is_no_secret_names_the_setting_and_the_file_and_shows_nothing_of_it() {
        let folder = Folder::new("no-secrets");
        let missing = folder.0.join("missing").display().to_string();
        let large = vec![b'h'; (MOST_BYTES + 1) as usize];
        for (path, fault) in [
            (missing, "No such file"),
            (folder.0.display().to_string(), "directory"),
            (folder.write("empty", b""), "is empty"),
            (folder.write("blank", b" \r\n\n"), "is empty"),
            (folder.write("bytes", b"hush\xff"), "is no text"),
            (folder.write("zero", b"hush\0hush"), "is no text"),
            (folder.write("large", &large), "is larger than 1 MiB"),
        ] {
            let error = read("sasl.password.file", &path).unwrap_err();
            assert!(error.starts_with("property `sasl.password.file`: "), "{error}");
            assert!(error.contains(&format!("`{path}`")) && error.contains(fault), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn one_property_has_one_value() {
        let twice: ClientProperties =
            [("sasl.password", "hush"), ("sasl.password.file", "/f")].into_iter().collect();
        let error = twice.with_files_read().unwrap_err().to_string();
        assert!(error.contains("`sasl.password` is given twice"), "{error}");
        assert!(!error.contains("hush"), "{error}");
    }

    #[test]
    fn the_later_of_two_ways_to_say_it_holds() {
        let plain: ClientProperties = [("sasl.password", "hush")].into_iter().collect();
        let file: ClientProperties = [("sasl.password.file", "/f")].into_iter().collect();
        assert_eq!(plain.overlaid(&file), file);
        assert_eq!(file.overlaid(&plain), plain);
    }

    #[test]
    fn a_file_is_shown_by_its_name_and_librdkafkas_own_files_are_passed_on() {
        assert_eq!(super::super::shown("sasl.password.file", "/f"), "/f");
        for own in OWN_FILES {
            assert_eq!(read(own, "/k").unwrap().get(own), Some("/k"));
        }
    }
}
