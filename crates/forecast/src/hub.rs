//! Checkpoints of the Hugging Face hub: `hf://owner/name`, `hf://owner/name@revision`.
//!
//! Files lie in the cache that `huggingface_hub` and the other clients use, and
//! what is there is taken from there: a restart needs no network and gets the
//! same weights, though `main` may have moved on meanwhile.

use std::fmt;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use tidecast_stream::Secret;

use crate::licence;
use crate::load::LoadError;
use crate::progress::DownloadProgress;

const CONFIG: &str = "config.json";
/// The file that a checkpoint's weights are in.
pub const WEIGHTS: &str = "model.safetensors";
const README: &str = "README.md";

const ENDPOINT: &str = "https://huggingface.co";

/// Times that an interrupted download goes on before it is given up.
const RETRIES: usize = 3;

/// A repository at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// `owner/name`.
    id: String,
    /// A branch, a tag or a commit.
    revision: String,
    /// The licence that is known without asking.
    known_licence: Option<String>,
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf://{}", self.id)
    }
}

impl Repository {
    /// Parses what stands after `hf://`; the revision can stand in the address
    /// or apart, and is `main` if it does not.
    ///
    /// # Errors
    /// If that is no address, or names two revisions.
    pub fn parse(address: &str, revision: Option<&str>) -> Result<Self, LoadError> {
        let refuse =
            |reason: String| Err(LoadError::Hub { repository: format!("hf://{address}"), reason });
        let (id, written) = match address.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (address, None),
        };
        let is_name = |text: &str, more: &str| {
            let is_fine =
                |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c) || more.contains(c);
            !text.is_empty() && text.chars().all(is_fine) && !text.contains("..")
        };
        let parts: Vec<&str> = id.split('/').collect();
        if parts.len() != 2 || !parts.iter().all(|part| is_name(part, "")) {
            return refuse("expected `hf://owner/name` or `hf://owner/name@revision`".to_owned());
        }
        let revision = match (written, revision) {
            (Some(written), Some(apart)) if written != apart => {
                return refuse(format!("two revisions, `{written}` and `{apart}`: give one"));
            }
            (written, apart) => written.or(apart).unwrap_or("main"),
        };
        if !is_name(revision, "/") {
            return refuse(format!("`{revision}` is no branch, tag or commit"));
        }
        let (id, revision) = (id.to_owned(), revision.to_owned());
        Ok(Self { id, revision, known_licence: None })
    }

    /// Returns `owner/name`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the repository with the licence that its files have where no README of
    /// it states one.
    #[must_use]
    pub fn known_licence(self, known_licence: Option<String>) -> Self {
        Self { known_licence, ..self }
    }

    fn at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.id.clone(), RepoType::Model, revision.to_owned())
    }

    fn error(&self, reason: String) -> LoadError {
        LoadError::Hub { repository: self.to_string(), reason }
    }
}

/// Where the hub is, and what it knows of us.
#[derive(Debug)]
pub struct Hub {
    /// Its address, without a slash at the end.
    pub endpoint: String,
    /// The folder of what was downloaded.
    pub cache: PathBuf,
    /// Who asks.
    pub token: Option<Secret>,
    /// Whether nothing may be downloaded.
    pub is_offline: bool,
}

/// The files of a repository, in the cache.
#[derive(Debug)]
pub struct Snapshot {
    /// Where they are.
    pub folder: PathBuf,
    /// The commit they are of.
    pub commit: String,
    /// The licence that is stated for them.
    pub licence: Option<String>,
}

impl Snapshot {
    /// Compares the weights' digest (`sha256:` and the hexadecimal digits) with the one
    /// they were published with, where the cache tells it.
    ///
    /// # Errors
    /// If it is another one.
    pub fn check(&self, version: &str) -> Result<(), LoadError> {
        let weights = self.folder.join(WEIGHTS);
        match expected_digest(&weights) {
            Some(expected) if version != format!("sha256:{expected}") => {
                Err(LoadError::Damaged { path: weights, expected })
            }
            _ => Ok(()),
        }
    }
}

impl Hub {
    /// Reads the environment variables of `huggingface_hub`: `HF_ENDPOINT`,
    /// `HF_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME`, `HF_TOKEN`,
    /// `HF_TOKEN_PATH`, `HF_HUB_OFFLINE`. A token given here comes first.
    ///
    /// # Errors
    /// If none of them says where the cache is.
    pub fn from_env(token: Option<&Secret>, cached_only: bool) -> Result<Self, LoadError> {
        let read = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let home = read("HF_HOME")
            .map(PathBuf::from)
            .or_else(|| read("XDG_CACHE_HOME").map(|home| Path::new(&home).join("huggingface")))
            .or_else(|| read("HOME").map(|home| Path::new(&home).join(".cache/huggingface")));
        let cache = match (read("HF_HUB_CACHE"), &home) {
            (Some(cache), _) => PathBuf::from(cache),
            (None, Some(home)) => home.join("hub"),
            (None, None) => return Err(LoadError::NoHubCache),
        };
        let stored = || {
            let path = read("HF_TOKEN_PATH").map(PathBuf::from);
            std::fs::read_to_string(path.or_else(|| Some(home.as_ref()?.join("token")))?).ok()
        };
        let found = || read("HF_TOKEN").or_else(stored).map(|text| text.trim().to_owned());
        let token = token.cloned().or_else(|| found().filter(|t| !t.is_empty()).map(Secret::new));
        let is_offline = cached_only
            || read("HF_HUB_OFFLINE").is_some_and(|value| {
                matches!(value.to_lowercase().as_str(), "1" | "true" | "yes" | "on")
            });
        let endpoint = read("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        Ok(Self { endpoint: endpoint.trim_end_matches('/').to_owned(), cache, token, is_offline })
    }

    /// Returns the repository's files, from the cache if they are there. The
    /// weights of a restricted licence are not downloaded before it is accepted.
    ///
    /// # Errors
    /// If they cannot be fetched, or their licence was not accepted.
    pub fn snapshot(
        &self,
        repository: &Repository,
        accepted: Option<&str>,
        progress: &mut (dyn DownloadProgress + Send),
    ) -> Result<Snapshot, LoadError> {
        let cache = Cache::new(self.cache.clone());
        let named = cache.repo(repository.at(&repository.revision));
        let cached = || {
            let (config, weights) = (named.get(CONFIG)?, named.get(WEIGHTS)?);
            let folder = config.parent()?.to_owned();
            (weights.parent() == Some(&folder)).then_some(folder)
        };
        let folder = match cached() {
            Some(folder) => folder,
            None => self.download(repository, &cache, accepted, progress)?,
        };
        let licence = licence::stated_in(&folder).or_else(|| repository.known_licence.clone());
        licence::check(&repository.to_string(), licence.as_deref(), accepted)?;
        let commit = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Snapshot { commit: commit.unwrap_or_default(), folder, licence })
    }

    /// Downloads the files at the commit the revision points to now.
    fn download(
        &self,
        repository: &Repository,
        cache: &Cache,
        accepted: Option<&str>,
        progress: &mut (dyn DownloadProgress + Send),
    ) -> Result<PathBuf, LoadError> {
        if self.is_offline {
            return Err(repository.error(format!(
                "not in the cache `{}`, and nothing may be downloaded here: load it once where \
                 that is allowed (without HF_HUB_OFFLINE), or point `path` to a folder with `{CONFIG}` and `{WEIGHTS}`",
                self.cache.display()
            )));
        }
        let failed = |file: &'static str| move |error| self.explain(repository, file, &error);
        let api = self.api().map_err(|error| self.explain(repository, CONFIG, &error))?;
        let at_revision = api.repo(repository.at(&repository.revision));
        let metadata = api.metadata(&at_revision.url(CONFIG)).map_err(failed(CONFIG))?;
        let commit = metadata.commit_hash().to_owned();
        let pinned = api.repo(repository.at(&commit));
        tracing::info!(repository = %repository, commit, cache = %self.cache.display(), "fetching");
        let licence = self.readme(&pinned).map_err(failed(README))?;
        let licence = licence.or_else(|| repository.known_licence.clone());
        licence::check(&repository.to_string(), licence.as_deref(), accepted)?;
        let mut folder = PathBuf::new();
        for file in [CONFIG, WEIGHTS] {
            let path = match cache.repo(repository.at(&commit)).get(file) {
                Some(path) => path,
                None => pinned
                    .download_with_progress(file, Relay(&mut *progress))
                    .map_err(failed(file))?,
            };
            folder = path.parent().map(Path::to_owned).unwrap_or_default();
        }
        let named = cache.repo(repository.at(&repository.revision));
        named.create_ref(&commit).map_err(|error| {
            repository.error(format!("`{}` cannot be written: {error}", self.cache.display()))
        })?;
        Ok(folder)
    }

    fn api(&self) -> Result<Api, ApiError> {
        ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.as_ref().map(|token| token.reveal().to_owned()))
            .with_retries(RETRIES)
            .with_progress(false)
            .with_user_agent("tidecast", env!("CARGO_PKG_VERSION"))
            .build()
    }

    /// Fetches the README and returns the licence it states; not every
    /// repository has one.
    fn readme(&self, repository: &ApiRepo) -> Result<Option<String>, ApiError> {
        match repository.get(README) {
            Ok(path) => Ok(path.parent().and_then(licence::stated_in)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Says what went wrong and what to do about it.
    fn explain(&self, repository: &Repository, file: &str, error: &ApiError) -> LoadError {
        let Repository { id, revision, .. } = repository;
        let endpoint = &self.endpoint;
        repository.error(match (status(error), error) {
            (Some(401 | 403), _) if self.token.is_none() => format!(
                "{endpoint} wants to know who asks (or there is no such repository): set HF_TOKEN \
                 to an access token, and accept the model's terms on {endpoint}/{id} if it has any"
            ),
            (Some(401 | 403), _) => format!(
                "the access token does not open it: accept the model's terms on {endpoint}/{id}, \
                 and check that the token may read it"
            ),
            (Some(404), _) => format!(
                "`{file}` is not there at revision `{revision}`: check owner, name and revision \
                 on {endpoint}/{id}"
            ),
            (Some(code), _) => {
                format!("{endpoint} answered {code} for `{file}`: try again later")
            }
            (None, ApiError::IoError(error)) => format!(
                "`{file}` could not be fetched into `{}`: {error}; what is there already will be \
                 used when you try again (HF_HOME moves the cache)",
                self.cache.display()
            ),
            (None, ApiError::LockAcquisition(path)) => format!(
                "another process is downloading it: wait for it, or delete `{}` if there is none",
                path.display()
            ),
            (None, ApiError::InvalidResume) => format!(
                "a download left behind in `{}` is longer than the file: delete it and try again",
                self.cache.display()
            ),
            (None, error) => format!(
                "`{file}` could not be fetched from {endpoint}: {error}; without a network, point \
                 `path` to a folder with `{CONFIG}` and `{WEIGHTS}`"
            ),
        })
    }
}

fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(code) => Some(code),
            _ => None,
        },
        ApiError::TooManyRetries(error) => status(error),
        _ => None,
    }
}

/// Returns the SHA-256 that a file of the cache should have: the name of the
/// blob behind a large file is just that.
fn expected_digest(path: &Path) -> Option<String> {
    let blob = std::fs::canonicalize(path).ok()?;
    let name = blob.file_name()?.to_str()?;
    (name.len() == 64 && name.chars().all(|c| c.is_ascii_hexdigit())).then(|| name.to_lowercase())
}

/// Hands hf-hub's progress on.
struct Relay<'a>(&'a mut (dyn DownloadProgress + Send));

impl hf_hub::api::Progress for Relay<'_> {
    fn init(&mut self, size: usize, file: &str) {
        self.0.begin(file, size as u64);
    }

    fn update(&mut self, size: usize) {
        self.0.advance(size as u64);
    }

    fn finish(&mut self) {
        self.0.finish();
    }
}

#[cfg(test)]
mod tests;
