//! Reading `config.json` and `model.safetensors`, from a folder or embedded.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::moirai::MoiraiMoe;
use crate::ops::Precision;
use crate::provider::LoadError;

const TINY_CONFIG: &[u8] = include_bytes!("../models/tidecast-moirai-moe-tiny/config.json");
const TINY_WEIGHTS: &[u8] = include_bytes!("../models/tidecast-moirai-moe-tiny/model.safetensors");
const TINY_LICENCE: &str = "Apache-2.0";
const TINY_CONTEXT: usize = 1024;

/// The name of the embedded checkpoint.
pub(crate) const BUILTIN_TINY: &str = "builtin:tiny";

/// A model and where it came from.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(crate) model: MoiraiMoe,
    /// `builtin:tiny` or the folder.
    pub(crate) path: String,
    /// `sha256:` and the digest of `model.safetensors`.
    pub(crate) version: String,
    pub(crate) weights_bytes: u64,
    pub(crate) licence: Option<String>,
    pub(crate) recommended_context: Option<usize>,
}

impl Checkpoint {
    /// Opens `builtin:tiny` or a folder.
    pub(crate) fn open(path: &str, device: &Device) -> Result<Self, LoadError> {
        if path == BUILTIN_TINY {
            return Self::builtin_tiny(device);
        }
        if path.starts_with("builtin:") {
            return Err(LoadError::UnknownBuiltin { path: path.to_owned() });
        }
        Self::open_folder(Path::new(path), device)
    }

    fn builtin_tiny(device: &Device) -> Result<Self, LoadError> {
        let config = Config::parse(TINY_CONFIG, Path::new("builtin:tiny/config.json"))?;
        let path = Path::new("builtin:tiny/model.safetensors");
        Ok(Self {
            model: read_model(config, TINY_WEIGHTS, path, device)?,
            path: BUILTIN_TINY.to_owned(),
            version: version(TINY_WEIGHTS),
            weights_bytes: TINY_WEIGHTS.len() as u64,
            licence: Some(TINY_LICENCE.to_owned()),
            recommended_context: Some(TINY_CONTEXT),
        })
    }

    pub(crate) fn open_folder(folder: &Path, device: &Device) -> Result<Self, LoadError> {
        if !folder.is_dir() {
            return Err(LoadError::NotAFolder { path: folder.to_owned() });
        }
        let config_path = folder.join("config.json");
        let config = std::fs::read(&config_path)
            .map_err(|source| LoadError::File { path: config_path.clone(), source })?;
        let config = Config::parse(&config, &config_path)?;
        let path = folder.join("model.safetensors");
        let bytes = map(&path).map_err(|source| LoadError::File { path: path.clone(), source })?;
        Ok(Self {
            model: read_model(config, &bytes, &path, device)?,
            path: folder.display().to_string(),
            version: version(&bytes),
            weights_bytes: bytes.len() as u64,
            licence: stated_licence(folder),
            recommended_context: None,
        })
    }
}

fn version(weights: &[u8]) -> String {
    let digest = Sha256::digest(weights);
    digest.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// Returns the licence in the front matter of the folder's README, as the
/// Hugging Face hub writes it.
fn stated_licence(folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(folder.join("README.md")).ok()?;
    let front_matter = text.strip_prefix("---")?.split("\n---").next()?;
    let line = front_matter.lines().find_map(|line| line.strip_prefix("license:"))?;
    Some(line.trim().to_owned())
}

/// Maps a file into memory: a checkpoint of several gigabytes is converted
/// tensor by tensor and never lies in memory twice.
#[allow(unsafe_code)] // mapping a file is unsafe: it must not shrink meanwhile
fn map(path: &Path) -> std::io::Result<memmap2::Mmap> {
    let file = File::open(path)?;
    // SAFETY: the mapping is read-only and dropped when the model is built. A
    // file cut short during that time ends the process; replacing a checkpoint
    // by renaming, as downloaders do, leaves the mapped file whole.
    unsafe { memmap2::Mmap::map(&file) }
}

fn read_model(
    config: Config,
    bytes: &[u8],
    path: &Path,
    device: &Device,
) -> Result<MoiraiMoe, LoadError> {
    let mut weights = Weights::open(bytes, path, device)?;
    let model = MoiraiMoe::load(config, &mut weights)?;
    weights.finish()?;
    Ok(model)
}

/// The tensors of a file, each taken once.
pub(crate) struct Weights<'a> {
    tensors: SafeTensors<'a>,
    path: PathBuf,
    device: Device,
    left: BTreeSet<String>,
}

impl<'a> Weights<'a> {
    pub(crate) fn open(bytes: &'a [u8], path: &Path, device: &Device) -> Result<Self, LoadError> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| LoadError::Corrupt {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let left = tensors.names().into_iter().map(str::to_owned).collect();
        Ok(Self { tensors, path: path.to_owned(), device: device.clone(), left })
    }

    /// Returns a tensor's shape without taking it.
    pub(crate) fn shape(&self, name: &str) -> Result<Vec<usize>, LoadError> {
        let view = self.tensors.tensor(name).map_err(|_| self.missing(name))?;
        Ok(view.shape().to_vec())
    }

    fn missing(&self, name: &str) -> LoadError {
        LoadError::MissingTensor { path: self.path.clone(), name: name.to_owned() }
    }

    /// Takes a tensor of this shape, as it is stored.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Stored<'a>, LoadError> {
        let view = self.tensors.tensor(name).map_err(|_| self.missing(name))?;
        if view.shape() != shape {
            return Err(LoadError::WrongShape {
                path: self.path.clone(),
                name: name.to_owned(),
                found: view.shape().to_vec(),
                expected: shape.to_vec(),
            });
        }
        self.left.remove(name);
        let (name, path) = (name.to_owned(), self.path.clone());
        Ok(Stored { name, path, dtype: view.dtype(), data: view.data() })
    }

    /// Takes a tensor of this shape as f32 numbers in row-major order.
    pub(crate) fn numbers(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        self.take(name, shape)?.numbers()
    }

    /// Takes a tensor of this shape.
    pub(crate) fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, LoadError> {
        let numbers = self.numbers(name, shape)?;
        Ok(Tensor::from_vec(numbers, shape, &self.device)?)
    }

    /// Refuses tensors that nothing asked for.
    pub(crate) fn finish(self) -> Result<(), LoadError> {
        match self.left.first() {
            None => Ok(()),
            Some(name) => Err(LoadError::UnexpectedTensor {
                path: self.path,
                name: name.clone(),
                count: self.left.len(),
            }),
        }
    }
}

/// Returns the precision that keeps the numbers of all of these.
pub(crate) fn common_precision(tensors: &[Stored<'_>]) -> Precision {
    let mut all = tensors.iter().map(Stored::precision);
    let first = all.next().unwrap_or(Precision::F32);
    if all.all(|precision| precision == first) { first } else { Precision::F32 }
}

/// A tensor of a file, not yet read.
pub(crate) struct Stored<'a> {
    name: String,
    path: PathBuf,
    dtype: Dtype,
    data: &'a [u8],
}

impl Stored<'_> {
    /// Reads the numbers, in row-major order.
    pub(crate) fn numbers(&self) -> Result<Vec<f32>, LoadError> {
        let (path, name) = (|| self.path.clone(), || self.name.clone());
        let numbers: Vec<f32> = match self.dtype {
            Dtype::F32 => words(self.data, f32::from_le_bytes),
            Dtype::F16 => words(self.data, |word| f16::from_le_bytes(word).to_f32()),
            Dtype::BF16 => words(self.data, |word| bf16::from_le_bytes(word).to_f32()),
            Dtype::F64 => words(self.data, |word| f64::from_le_bytes(word) as f32),
            other => {
                let dtype = other.to_string();
                return Err(LoadError::UnsupportedDtype { path: path(), name: name(), dtype });
            }
        };
        if !numbers.iter().all(|number| number.is_finite()) {
            return Err(LoadError::NotFinite { path: path(), name: name() });
        }
        Ok(numbers)
    }

    /// Returns in what precision the numbers can be kept without loss.
    pub(crate) fn precision(&self) -> Precision {
        match self.dtype {
            Dtype::F16 => Precision::F16,
            Dtype::BF16 => Precision::Bf16,
            _ => Precision::F32,
        }
    }
}

fn words<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    data.as_chunks::<N>().0.iter().map(|word| number(*word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Named};

    /// Opens a folder whose tensors and configuration were changed.
    fn open(
        change: impl FnOnce(&mut Vec<Named>, &mut serde_json::Value),
        dtype: Dtype,
    ) -> Result<Checkpoint, LoadError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = testing::config(&[4, 8]);
        let mut tensors = testing::weights(&config, 3);
        change(&mut tensors, &mut config);
        testing::write_folder(folder.path(), &config, &tensors, dtype);
        Checkpoint::open_folder(folder.path(), &Device::Cpu)
    }

    fn named<'a>(tensors: &'a mut [Named], name: &str) -> &'a mut Named {
        tensors.iter_mut().find(|tensor| tensor.name == name).expect("the tensor is there")
    }

    fn refused(change: impl FnOnce(&mut Vec<Named>, &mut serde_json::Value)) -> LoadError {
        open(change, Dtype::F32).expect_err("the checkpoint is refused")
    }

    #[test]
    fn every_stored_precision_is_read() {
        let x = Tensor::arange(0f32, 8.0, &Device::Cpu).and_then(|x| x.reshape((1, 8)));
        let x = x.expect("tensor");
        let embed = |dtype| {
            let model = open(|_, _| {}, dtype).expect("opens").model;
            let embedded = model.embed(&x, 1, &mut crate::moirai::Probe::none()).expect("embeds");
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
    fn a_file_that_does_not_fit_its_configuration_is_refused_by_tensor() {
        let missing = refused(|tensors, _| tensors.retain(|t| t.name != "encoder.norm.weight"));
        assert!(
            matches!(&missing, LoadError::MissingTensor { name, .. } if name == "encoder.norm.weight")
        );
        let extra = refused(|tensors, _| {
            let (shape, values) = (vec![2], vec![0.0; 2]);
            tensors.push(Named { name: "mask_encoding.weight".to_owned(), shape, values });
        });
        assert!(matches!(
            &extra,
            LoadError::UnexpectedTensor { name, count: 1, .. } if name == "mask_encoding.weight"
        ));
        let shape = refused(|_, config| config["d_ff"] = 24.into());
        assert_eq!(
            shape.to_string().split("` of `").next(),
            Some("tensor `encoder.layers.0.ffn.experts.0.fc_gate.weight")
        );
        assert!(matches!(
            &shape,
            LoadError::WrongShape { found, expected, .. }
                if *found == [16, 64] && *expected == [24, 64]
        ));
        let layers = refused(|_, config| config["num_layers"] = 1.into());
        assert!(
            matches!(&layers, LoadError::WrongShape { name, .. } if name == "encoder.centroid")
        );
        let broken = refused(|tensors, _| named(tensors, "in_proj.bias").values[3] = f32::NAN);
        assert!(matches!(&broken, LoadError::NotFinite { name, .. } if name == "in_proj.bias"));
        let kind = open(|_, _| {}, Dtype::U32).expect_err("the checkpoint is refused");
        assert!(matches!(&kind, LoadError::UnsupportedDtype { dtype, .. } if dtype == "U32"));
        let unknown = refused(|_, config| {
            config["distr_output"]["components"][0]["_target_"] = "a.b.WeibullOutput".into();
        });
        assert!(unknown.to_string().contains("unknown distribution `WeibullOutput`"));
    }

    #[test]
    fn a_damaged_folder_is_refused_by_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let open = || Checkpoint::open_folder(folder.path(), &Device::Cpu).expect_err("refused");
        let weights = folder.path().join("model.safetensors");
        assert!(matches!(open(), LoadError::File { path, .. } if path.ends_with("config.json")));
        let config = testing::config(&[4]);
        testing::write_folder(folder.path(), &config, &testing::weights(&config, 0), Dtype::F32);
        let whole = std::fs::read(&weights).expect("written");
        for damaged in [&whole[..whole.len() / 2], &whole[..20], &whole[..3], &[], b"not weights"] {
            std::fs::write(&weights, damaged).expect("written");
            let error = open();
            assert!(matches!(error, LoadError::Corrupt { .. }), "{error}");
        }
        std::fs::remove_file(&weights).expect("removed");
        assert!(
            matches!(open(), LoadError::File { path, .. } if path.ends_with("model.safetensors"))
        );
        std::fs::write(folder.path().join("config.json"), "{").expect("written");
        assert!(matches!(open(), LoadError::Config { .. }));
        let nowhere = Checkpoint::open_folder(&weights, &Device::Cpu).expect_err("refused");
        assert!(matches!(nowhere, LoadError::NotAFolder { .. }));
        let builtin = Checkpoint::open("builtin:huge", &Device::Cpu).expect_err("refused");
        assert!(matches!(builtin, LoadError::UnknownBuiltin { .. }));
    }

    #[test]
    fn the_licence_is_that_of_the_readmes_front_matter() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(stated_licence(folder.path()), None);
        let readme = "---\nlicense: cc-by-nc-4.0\ntags: [a]\n---\n# Model\nlicense: other\n";
        std::fs::write(folder.path().join("README.md"), readme).expect("written");
        assert_eq!(stated_licence(folder.path()).as_deref(), Some("cc-by-nc-4.0"));
    }
}
