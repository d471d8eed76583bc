//! Small random models for tests.

use std::path::Path;

use half::{bf16, f16};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use crate::config::Config;
use crate::model::MoiraiMoe;
use crate::weights::Weights;

/// Experts of a random model.
const EXPERTS: usize = 6;

/// One tensor of a checkpoint.
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// Returns the configuration of a random model: two layers of width 64 with
/// the published mixture.
pub(crate) fn config(patch_sizes: &[usize]) -> Value {
    let component = |class: &str| json!({ "_target_": format!("uni2ts.distribution.{class}") });
    json!({
        "d_model": 64,
        "d_ff": 16,
        "num_layers": 2,
        "patch_sizes": patch_sizes,
        "max_seq_len": 512,
        "attn_dropout_p": 0.0,
        "dropout_p": 0.0,
        "scaling": true,
        "distr_output": {
            "_target_": "uni2ts.distribution.mixture.MixtureOutput",
            "components": [
                component("student_t.StudentTOutput"),
                {
                    "_target_": "uni2ts.distribution.normal.NormalFixedScaleOutput",
                    "scale": 0.001,
                },
                component("negative_binomial.NegativeBinomialOutput"),
                component("log_normal.LogNormalOutput"),
            ],
        },
    })
}

/// Returns random weights for a configuration.
pub(crate) fn weights(config: &Value, seed: u64) -> Vec<Named> {
    let config = Config::parse(config.to_string().as_bytes(), Path::new("config.json"))
        .expect("the configuration is right");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (width, hidden, patch) = (config.d_model, config.d_ff, config.patch_width);
    let sizes = config.patch_sizes.len();
    let mut tensors = Vec::new();
    let mut add = |name: String, shape: &[usize], center: f32, spread: f32| {
        let count = shape.iter().product();
        let mut number = || center + spread * random.sample::<f32, _>(StandardNormal);
        let values = (0..count).map(|_| number()).collect();
        tensors.push(Named { name, shape: shape.to_vec(), values });
    };
    let fan = |inputs: usize| 1.2 / (inputs as f32).sqrt();
    for (name, inputs) in [("in_proj", patch), ("res_proj", patch), ("feat_proj", width)] {
        add(format!("{name}.weight"), &[sizes, width, inputs], 0.0, fan(inputs));
        add(format!("{name}.bias"), &[sizes, width], 0.0, 0.2);
    }
    add("encoder.centroid".to_owned(), &[config.layers, EXPERTS, width], 0.0, 1.0);
    add("encoder.norm.weight".to_owned(), &[width], 1.0, 0.2);
    for layer in 0..config.layers {
        let prefix = format!("encoder.layers.{layer}");
        for norm in ["norm1", "norm2"] {
            add(format!("{prefix}.{norm}.weight"), &[width], 1.0, 0.2);
        }
        let attention = format!("{prefix}.self_attn");
        for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            add(format!("{attention}.{projection}.weight"), &[width, width], 0.0, fan(width));
        }
        for norm in ["q_norm", "k_norm"] {
            add(format!("{attention}.{norm}.weight"), &[config.head_dim], 1.0, 0.2);
        }
        add(format!("{attention}.var_attn_bias.emb.weight"), &[2, config.heads], 0.0, 1.0);
        for expert in 0..EXPERTS {
            let expert = format!("{prefix}.ffn.experts.{expert}");
            add(format!("{expert}.fc1.weight"), &[hidden, width], 0.0, fan(width));
            add(format!("{expert}.fc_gate.weight"), &[hidden, width], 0.0, fan(width));
            add(format!("{expert}.fc2.weight"), &[width, hidden], 0.0, fan(hidden));
        }
    }
    for leaf in config.output.leaves() {
        let name = format!("param_proj.proj.{}", leaf.name);
        let rows = leaf.dim * patch;
        add(format!("{name}.weight"), &[sizes, rows, width], 0.0, 0.3 * fan(width));
        add(format!("{name}.bias"), &[sizes, rows], 0.0, 0.2);
    }
    tensors
}

/// Writes a checkpoint folder.
pub(crate) fn write_folder(folder: &Path, config: &Value, tensors: &[Named], dtype: Dtype) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|tensor| tensor.values.iter().flat_map(|&value| stored(value, dtype)).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|(tensor, bytes)| {
        let view = TensorView::new(dtype, tensor.shape.clone(), bytes).expect("shape and bytes");
        (tensor.name.clone(), view)
    });
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors"))
        .expect("the folder can be written");
    std::fs::write(folder.join("config.json"), config.to_string())
        .expect("the folder can be written");
}

fn stored(value: f32, dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
        Dtype::BF16 => bf16::from_f32(value).to_le_bytes().to_vec(),
        Dtype::F64 => f64::from(value).to_le_bytes().to_vec(),
        _ => value.to_le_bytes().to_vec(),
    }
}

/// Returns a random model.
pub(crate) fn model(patch_sizes: &[usize], seed: u64) -> MoiraiMoe {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = config(patch_sizes);
    write_folder(folder.path(), &config, &weights(&config, seed), Dtype::F32);
    let path = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&path).expect("the folder can be read");
    let config = Config::parse(config.to_string().as_bytes(), &path).expect("right");
    let mut weights = Weights::open(&bytes, &path, None, None).expect("right");
    MoiraiMoe::load(config, &mut weights).expect("the checkpoint is right")
}
