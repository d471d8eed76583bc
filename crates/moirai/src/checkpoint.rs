//! Opening a checkpoint: `config.json` and `model.safetensors`, embedded, from
//! a folder or from the Hugging Face hub.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};
use tidecast_forecast::hub::{self, Hub};
use tidecast_forecast::{DownloadProgress, licence};

use crate::config::Config;
use crate::device::Place;
use crate::error::CheckpointError;
use crate::model::MoiraiMoe;
use crate::network::Network;
use crate::options::{HUB, Options};
use crate::precision::Precision;
use crate::weights::Weights;

const TINY_CONFIG: &[u8] = include_bytes!("../models/tidecast-moirai-moe-tiny/config.json");
const TINY_WEIGHTS: &[u8] = include_bytes!("../models/tidecast-moirai-moe-tiny/model.safetensors");
const TINY_LICENCE: &str = "Apache-2.0";
const TINY_CONTEXT: usize = 1024;

/// The name of the embedded checkpoint.
pub(crate) const BUILTIN_TINY: &str = "builtin:tiny";

/// A network and where it came from.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(crate) network: Box<dyn Network>,
    /// `builtin:tiny`, the folder, or `hf://owner/name`.
    pub(crate) path: String,
    /// The commit, for a checkpoint of the hub.
    pub(crate) revision: Option<String>,
    /// `sha256:` and the digest of `model.safetensors`.
    pub(crate) version: String,
    pub(crate) weights_bytes: u64,
    pub(crate) licence: Option<String>,
    pub(crate) recommended_context: Option<usize>,
}

/// What is asked of a checkpoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish<'a> {
    /// The licence that was accepted.
    pub(crate) accepted: Option<&'a str>,
    /// How large matrices are kept; `None` is the place's usual way.
    pub(crate) dtype: Option<Precision>,
    /// Where it computes.
    pub(crate) place: Place,
}

impl Checkpoint {
    /// Opens what the path names; `cached_only` takes what is of the hub from its
    /// cache or not at all.
    pub(crate) fn open(
        options: &Options,
        cached_only: bool,
        place: &Place,
        progress: &mut (dyn DownloadProgress + Send),
        threads: &rayon::ThreadPool,
    ) -> Result<Self, CheckpointError> {
        let path = options.path.as_str();
        if path == BUILTIN_TINY {
            return threads.install(|| Self::builtin_tiny(options.dtype, place));
        }
        if path.starts_with("builtin:") {
            return Err(CheckpointError::UnknownBuiltin { path: path.to_owned() });
        }
        let wish = Wish {
            accepted: options.accepted_licence.as_deref(),
            dtype: options.dtype,
            place: place.clone(),
        };
        if let Some(address) = path.strip_prefix(HUB) {
            let repository = hub::Repository::parse(address, options.revision.as_deref())?;
            let known = known_licence(repository.id());
            let repository = repository.known_licence(known);
            let hub = Hub::from_env(options.token.as_ref(), cached_only)?;
            return threads.install(|| Self::from_hub(&hub, &repository, wish, progress));
        }
        threads.install(|| Self::open_folder(Path::new(path), wish))
    }

    fn builtin_tiny(dtype: Option<Precision>, place: &Place) -> Result<Self, CheckpointError> {
        let config = Config::parse(TINY_CONFIG, Path::new("builtin:tiny/config.json"))?;
        let path = Path::new("builtin:tiny/model.safetensors");
        let mut weights = Weights::open(TINY_WEIGHTS, path, None, place.dtype(dtype))?;
        Ok(Self {
            network: read(config, &mut weights, place)?,
            path: BUILTIN_TINY.to_owned(),
            revision: None,
            version: version(&Sha256::digest(TINY_WEIGHTS)),
            weights_bytes: TINY_WEIGHTS.len() as u64,
            licence: Some(TINY_LICENCE.to_owned()),
            recommended_context: Some(TINY_CONTEXT),
        })
    }

    /// Opens a folder, if its licence allows or was accepted.
    pub(crate) fn open_folder(folder: &Path, wish: Wish<'_>) -> Result<Self, CheckpointError> {
        if !folder.is_dir() {
            return Err(CheckpointError::NotAFolder { path: folder.to_owned() });
        }
        let name = folder.display().to_string();
        let licence = licence::stated_in(folder);
        licence::check(&name, licence.as_deref(), wish.accepted)?;
        Self::read_folder(folder, name, licence, &wish)
    }

    /// Opens a repository of the hub, downloading what is not in its cache.
    pub(crate) fn from_hub(
        hub: &Hub,
        repository: &hub::Repository,
        wish: Wish<'_>,
        progress: &mut (dyn DownloadProgress + Send),
    ) -> Result<Self, CheckpointError> {
        let snapshot = hub.snapshot(repository, wish.accepted, progress)?;
        let (folder, name) = (&snapshot.folder, repository.to_string());
        let read = Self::read_folder(folder, name, snapshot.licence.clone(), &wish)?;
        snapshot.check(&read.version)?;
        Ok(Self { revision: Some(snapshot.commit), ..read })
    }

    fn read_folder(
        folder: &Path,
        path: String,
        licence: Option<String>,
        wish: &Wish<'_>,
    ) -> Result<Self, CheckpointError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CheckpointError::File { path, source }
        };
        let config_path = folder.join("config.json");
        let config = std::fs::read(&config_path).map_err(failed(&config_path))?;
        let config = Config::parse(&config, &config_path)?;
        let weights_path = folder.join("model.safetensors");
        let file = File::open(&weights_path).map_err(failed(&weights_path))?;
        let bytes = map(&file).map_err(failed(&weights_path))?;
        // The digest takes as long as everything else: it is made beside it.
        let (digest, network) = std::thread::scope(|scope| {
            let digest = scope.spawn(|| digest(&weights_path));
            let release = |tensor: &[u8]| give_back(&bytes, tensor);
            let dtype = wish.place.dtype(wish.dtype);
            let network = Weights::open(&bytes, &weights_path, Some(&release), dtype)
                .and_then(|mut weights| read(config, &mut weights, &wish.place));
            (digest.join(), network)
        });
        let network = network?;
        let digest = match digest {
            Ok(digest) => digest.map_err(failed(&weights_path))?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        Ok(Self {
            network,
            path,
            revision: None,
            version: digest,
            weights_bytes: bytes.len() as u64,
            licence,
            recommended_context: None,
        })
    }
}

/// Returns the licence of the published weights, whatever their page says.
fn known_licence(repository: &str) -> Option<String> {
    repository
        .to_ascii_lowercase()
        .starts_with("salesforce/moirai")
        .then(|| "cc-by-nc-4.0".to_owned())
}

fn version(digest: &[u8]) -> String {
    digest.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// Returns the version a file has, reading it piece by piece.
fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(version(&hash.finalize())),
            count => hash.update(&piece[..count]),
        }
    }
}

/// Maps a file into memory: a checkpoint of several gigabytes is converted
/// tensor by tensor and never lies in memory twice.
#[allow(unsafe_code)] // mapping a file is unsafe: it must not shrink meanwhile
fn map(file: &File) -> std::io::Result<memmap2::Mmap> {
    // SAFETY: the mapping is read-only and dropped when the model is built. A
    // file cut short during that time ends the process; replacing a checkpoint
    // by renaming, as downloaders do, leaves the mapped file whole.
    unsafe { memmap2::Mmap::map(file) }
}

/// Lets the system take back the pages of a tensor that has been read.
#[allow(unsafe_code)] // the advice changes memory under a shared reference
fn give_back(map: &memmap2::Mmap, tensor: &[u8]) {
    let start = (tensor.as_ptr() as usize).saturating_sub(map.as_ptr() as usize);
    #[cfg(unix)]
    // SAFETY: pages of a read-only mapping of a file are read from the file
    // again when somebody looks at them; they never come back as zeros.
    let advised = unsafe {
        map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, tensor.len())
    };
    #[cfg(unix)]
    if let Err(error) = advised {
        tracing::debug!(%error, "pages of the checkpoint stay in memory until it is loaded");
    }
}

fn read(
    config: Config,
    weights: &mut Weights<'_>,
    place: &Place,
) -> Result<Box<dyn Network>, CheckpointError> {
    let network: Box<dyn Network> = match place {
        Place::Cpu => Box::new(MoiraiMoe::load(config, weights)?),
        #[cfg(feature = "cuda")]
        Place::Cuda(gpu) => Box::new(crate::cuda::CudaNetwork::load(gpu, config, weights)?),
    };
    weights.finish()?;
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Named};
    use candle_core::{Device, Tensor};
    use safetensors::Dtype;

    /// Opens a folder whose tensors and configuration were changed.
    fn open(
        change: impl FnOnce(&mut Vec<Named>, &mut serde_json::Value),
        dtype: Dtype,
    ) -> Result<Checkpoint, CheckpointError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = testing::config(&[4, 8]);
        let mut tensors = testing::weights(&config, 3);
        change(&mut tensors, &mut config);
        testing::write_folder(folder.path(), &config, &tensors, dtype);
        Checkpoint::open_folder(folder.path(), Wish::default())
    }

    fn named<'a>(tensors: &'a mut [Named], name: &str) -> &'a mut Named {
        tensors.iter_mut().find(|tensor| tensor.name == name).expect("the tensor is there")
    }

    fn refused(change: impl FnOnce(&mut Vec<Named>, &mut serde_json::Value)) -> CheckpointError {
        open(change, Dtype::F32).expect_err("the checkpoint is refused")
    }

    #[test]
    fn every_stored_precision_is_read() {
        let x = Tensor::arange(0f32, 8.0, &Device::Cpu).and_then(|x| x.reshape((1, 8)));
        let x = x.expect("tensor");
        let embed = |dtype| {
            let network = open(|_, _| {}, dtype).expect("opens").network;
            let embedded =
                network.embed_all(&x, 1, &mut crate::model::Probe::none()).expect("embeds");
            embedded.flatten_all().and_then(|x| x.to_vec1::<f32>()).expect("numbers")
        };
        let exact = embed(Dtype::F32);
        assert_eq!(exact, embed(Dtype::F64));
        for (dtype, tolerance) in [(Dtype::F16, 0.02), (Dtype::BF16, 0.2)] {
            let off = exact.iter().zip(embed(dtype)).map(|(a, b)| (a - b).abs());
            let off = off.fold(0.0, f32::max);
            assert!(off > 0.0 && off < tolerance, "{dtype}: {off}");
        }
    }

    #[test]
    fn weights_are_kept_as_asked() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = testing::config(&[4, 8]);
        let mut tensors = testing::weights(&config, 3);
        testing::write_folder(folder.path(), &config, &tensors, Dtype::F32);
        let open = |dtype| {
            let wish = Wish { dtype, ..Wish::default() };
            Checkpoint::open_folder(folder.path(), wish)
                .map(|checkpoint| checkpoint.network.bytes())
        };
        let long = open(None).expect("opens");
        assert_eq!(open(Some(Precision::F32)).expect("opens"), long);
        for short in [Precision::F16, Precision::Bf16] {
            let short = open(Some(short)).expect("opens");
            // Embedding, head and centroids stay.
            assert!(short < long * 3 / 4, "{short} of {long}");
        }
        named(&mut tensors, "encoder.layers.1.ffn.experts.2.fc1.weight").values[7] = 1e6;
        testing::write_folder(folder.path(), &config, &tensors, Dtype::F32);
        open(Some(Precision::Bf16)).expect("bf16 reaches as far as f32");
        let error = open(Some(Precision::F16)).expect_err("beyond f16").to_string();
        assert!(error.starts_with("tensor `encoder.layers.1.ffn.experts.2.fc1.weight` of `"));
        assert!(error.ends_with("beyond the range of `f16`: choose `bf16` or `f32`"), "{error}");
    }

    #[test]
    fn a_file_that_does_not_fit_its_configuration_is_refused_by_tensor() {
        let missing = refused(|tensors, _| tensors.retain(|t| t.name != "encoder.norm.weight"));
        assert!(
            matches!(&missing, CheckpointError::MissingTensor { name, .. } if name == "encoder.norm.weight")
        );
        let extra = refused(|tensors, _| {
            let (shape, values) = (vec![2], vec![0.0; 2]);
            tensors.push(Named { name: "mask_encoding.weight".to_owned(), shape, values });
        });
        assert!(matches!(
            &extra,
            CheckpointError::UnexpectedTensor { name, count: 1, .. } if name == "mask_encoding.weight"
        ));
        let shape = refused(|_, config| config["d_ff"] = 24.into());
        assert_eq!(
            shape.to_string().split("` of `").next(),
            Some("tensor `encoder.layers.0.ffn.experts.0.fc_gate.weight")
        );
        assert!(matches!(
            &shape,
            CheckpointError::WrongShape { found, expected, .. }
                if *found == [16, 64] && *expected == [24, 64]
        ));
        let layers = refused(|_, config| config["num_layers"] = 1.into());
        assert!(
            matches!(&layers, CheckpointError::WrongShape { name, .. } if name == "encoder.centroid")
        );
        let broken = refused(|tensors, _| named(tensors, "in_proj.bias").values[3] = f32::NAN);
        assert!(
            matches!(&broken, CheckpointError::NotFinite { name, .. } if name == "in_proj.bias")
        );
        let kind = open(|_, _| {}, Dtype::U32).expect_err("the checkpoint is refused");
        assert!(matches!(&kind, CheckpointError::UnsupportedDtype { dtype, .. } if dtype == "U32"));
        let unknown = refused(|_, config| {
            config["distr_output"]["components"][0]["_target_"] = "a.b.WeibullOutput".into();
        });
        assert!(unknown.to_string().contains("unknown distribution `WeibullOutput`"));
    }

    #[test]
    fn the_published_moirai_are_restricted_whatever_their_page_says() {
        let moirai = known_licence("Salesforce/moirai-moe-1.0-R-small");
        assert_eq!(moirai.as_deref(), Some("cc-by-nc-4.0"));
        assert_eq!(known_licence("owner/name"), None);
    }

    /// A cache of the hub as its clients lay it out.
    #[test]
    fn a_checkpoint_of_the_hub_is_named_by_its_commit_and_compared_with_its_digest() {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let repository = cache.path().join("models--owner--name");
        let folder = repository.join("snapshots/0123abcd");
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::create_dir_all(repository.join("refs")).expect("made");
        std::fs::write(repository.join("refs/main"), "0123abcd").expect("written");
        let config = testing::config(&[4]);
        testing::write_folder(&folder, &config, &testing::weights(&config, 3), Dtype::F32);
        let hub = Hub {
            endpoint: "http://127.0.0.1:1".to_owned(),
            cache: cache.path().to_owned(),
            token: None,
            is_offline: true,
        };
        let named = hub::Repository::parse("owner/name", None).expect("a repository");
        let open = || Checkpoint::from_hub(&hub, &named, Wish::default(), &mut ());
        let opened = open().expect("opens");
        assert_eq!(opened.path, "hf://owner/name");
        assert_eq!(opened.revision.as_deref(), Some("0123abcd"));
        // A large file is a link to a blob that is named by its digest.
        let digest = opened.version.trim_start_matches("sha256:");
        let weights = folder.join(hub::WEIGHTS);
        for (name, is_right) in [(digest, true), ("0".repeat(64).as_str(), false)] {
            let blob = cache.path().join(name);
            std::fs::rename(std::fs::canonicalize(&weights).expect("there"), &blob).expect("moved");
            std::fs::remove_file(&weights).ok();
            std::os::unix::fs::symlink(&blob, &weights).expect("linked");
            match open() {
                Ok(_) => assert!(is_right),
                Err(error) => {
                    assert!(!is_right && error.to_string().contains("is damaged: its SHA-256"));
                }
            }
        }
    }

    #[test]
    fn a_damaged_folder_is_refused_by_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let open = || Checkpoint::open_folder(folder.path(), Wish::default()).expect_err("refused");
        let weights = folder.path().join("model.safetensors");
        assert!(
            matches!(open(), CheckpointError::File { path, .. } if path.ends_with("config.json"))
        );
        let config = testing::config(&[4]);
        testing::write_folder(folder.path(), &config, &testing::weights(&config, 0), Dtype::F32);
        let whole = std::fs::read(&weights).expect("written");
        for damaged in [&whole[..whole.len() / 2], &whole[..20], &whole[..3], &[], b"not weights"] {
            std::fs::write(&weights, damaged).expect("written");
            let error = open();
            assert!(matches!(error, CheckpointError::Corrupt { .. }), "{error}");
        }
        std::fs::remove_file(&weights).expect("removed");
        assert!(
            matches!(open(), CheckpointError::File { path, .. } if path.ends_with("model.safetensors"))
        );
        std::fs::write(folder.path().join("config.json"), "{").expect("written");
        assert!(matches!(open(), CheckpointError::Config { .. }));
        let nowhere = Checkpoint::open_folder(&weights, Wish::default()).expect_err("refused");
        assert!(matches!(nowhere, CheckpointError::NotAFolder { .. }));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("threads");
        let options = Options::of(&crate::spec().with("path", "builtin:huge")).expect("options");
        let builtin =
            Checkpoint::open(&options, true, &Place::Cpu, &mut (), &pool).expect_err("refused");
        assert!(matches!(builtin, CheckpointError::UnknownBuiltin { .. }));
    }
}
