//! Golden tensors of the PyTorch reference through the model.

#![allow(clippy::expect_used, clippy::print_stdout)] // helpers of tests

use std::path::{Path, PathBuf};

use tidecast_moirai::verify::{On, Report, Status, VerifyError, verify};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// Verifies a folder of this crate and wants every check of every file passed.
fn pass(name: &str, files: &[&str]) -> Report {
    let golden = folder(name);
    let mut lines = Vec::new();
    let report = verify(&golden.join("model"), &golden, On::default(), &mut |check| {
        let mark = match check.status {
            Status::Passed => "ok",
            Status::Failed => "FAILED",
            Status::Unsupported => "unsupported",
        };
        lines.push(format!(
            "{mark} {} {}: {:.2e} of {:.0e} ({})",
            check.file, check.quantity, check.error, check.tolerance, check.note
        ));
    })
    .expect("the golden set can be read");
    let text = lines.join("\n");
    println!("{text}");
    assert!(report.passed(), "{text}");
    assert_eq!(report.unsupported(), 0, "{text}");
    for file in files {
        let checks = report.checks.iter().filter(|check| check.file == *file).count();
        assert!(checks > 3, "only {checks} checks of {file}");
    }
    report
}

#[test]
fn the_model_agrees_with_the_reference_on_every_tensor() {
    let files = [
        "module_forward.safetensors",
        "forecast_uni_exact.safetensors",
        "forecast_uni_one_step.safetensors",
        "forecast_uni_ragged_missing.safetensors",
        "forecast_multi3_missing.safetensors",
        "forecast_multi2_feats.safetensors",
        "sampler.safetensors",
    ];
    pass("golden", &files);
}

#[test]
fn several_patch_sizes_agree_with_the_reference() {
    let files = [
        "module_forward.safetensors",
        "forecast_multi_feats_32.safetensors",
        "forecast_multi_feats_8.safetensors",
        "forecast_uni_missing_32.safetensors",
        "forecast_uni_missing_16.safetensors",
    ];
    let report = pass("golden_patches", &files);
    // Without a manifest the patch size is found from the packed patches.
    let golden = copy("golden_patches");
    std::fs::remove_file(golden.path().join("manifest.json")).expect("removed");
    let model = folder("golden_patches").join("model");
    let found = verify(&model, golden.path(), On::default(), &mut |_| {}).expect("verified");
    assert!(found.passed());
    assert_eq!(found.checks.len(), report.checks.len());
}

#[test]
fn every_output_agrees_with_the_reference() {
    let files = [
        "module_forward.safetensors",
        "forecast_uni.safetensors",
        "forecast_uni_one_step.safetensors",
        "sampler.safetensors",
    ];
    let report = pass("golden_outputs", &files);
    for (name, parameters) in [
        ("student_t", &["df", "loc", "scale"][..]),
        ("normal", &["loc", "scale"]),
        ("normal_fixed", &["loc"]),
        ("neg_binomial", &["total_count", "logits"]),
        ("log_normal", &["loc", "scale"]),
        ("laplace", &["loc", "scale"]),
        ("laplace_fixed", &["loc"]),
        ("pareto", &["scale", "alpha"]),
        ("pareto_fixed", &["scale"]),
    ] {
        for parameter in parameters {
            let quantity = format!("param.{name}.{parameter}");
            let times = report.checks.iter().filter(|check| check.quantity == quantity).count();
            assert_eq!(times, 2, "{quantity}: in the forward pass and in the sampler");
        }
    }
    for quantity in ["mean", "variance", "log_prob", "quantiles"] {
        assert!(report.checks.iter().any(|check| check.quantity == quantity), "{quantity}");
    }
}

/// Copies a golden set, model left out, to change it.
fn copy(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary folder");
    for entry in std::fs::read_dir(folder(name)).expect("the golden set") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_file() {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copied");
        }
    }
    copy
}

#[test]
fn another_model_fails_and_is_told_where() {
    // Same shape, other weights: one bit pattern of the output norm flipped.
    let model = tempfile::tempdir().expect("a temporary folder");
    let source = folder("golden").join("model");
    std::fs::copy(source.join("config.json"), model.path().join("config.json")).expect("copied");
    let bytes = std::fs::read(source.join("model.safetensors")).expect("read");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("tensors");
    let changed = tensors.tensors().into_iter().map(|(name, view)| {
        let mut data = view.data().to_vec();
        if name == "encoder.norm.weight" {
            data[2] ^= 0x20;
        }
        (name, view.dtype(), view.shape().to_vec(), data)
    });
    let changed: Vec<_> = changed.collect();
    let views = changed.iter().map(|(name, dtype, shape, data)| {
        let view = safetensors::tensor::TensorView::new(*dtype, shape.clone(), data);
        (name.clone(), view.expect("a view"))
    });
    let path = model.path().join("model.safetensors");
    safetensors::serialize_to_file(views, None, &path).expect("written");
    let report =
        verify(model.path(), &folder("golden"), On::default(), &mut |_| {}).expect("verified");
    let status = |quantity: &str| {
        let check = report.checks.iter().find(|check| check.quantity == quantity);
        check.expect("the check was made").status
    };
    assert!(!report.passed());
    assert_eq!(status("layer1.out"), Status::Passed);
    assert_eq!(status("encoder_out"), Status::Failed);
    assert_eq!(status("mean"), Status::Failed);
    assert_eq!(status("mean.forecast"), Status::Failed);
}

#[test]
fn what_cannot_be_verified_says_so() {
    let golden = copy("golden");
    let model = folder("golden").join("model");
    let verify = |folder: &Path| verify(&model, folder, On::default(), &mut |_| {});
    assert!(verify(golden.path()).expect("verified").passed(), "a copy is as good");

    std::fs::write(golden.path().join("sampler.safetensors"), [7; 40]).expect("written");
    let damaged = verify(golden.path()).expect_err("damaged");
    assert!(
        matches!(damaged, VerifyError::File { path, .. } if path.ends_with("sampler.safetensors"))
    );

    // The manifest names a file that is not there.
    std::fs::remove_file(golden.path().join("sampler.safetensors")).expect("removed");
    let missing = verify(golden.path()).expect_err("missing");
    assert!(
        matches!(missing, VerifyError::Folder { path, .. } if path.ends_with("sampler.safetensors"))
    );

    let empty = tempfile::tempdir().expect("a temporary folder");
    let nothing = verify(empty.path()).expect_err("nothing there");
    assert!(matches!(nothing, VerifyError::NothingToVerify { .. }));
    let nowhere = verify(&empty.path().join("nowhere")).expect_err("no folder");
    assert!(matches!(nowhere, VerifyError::Folder { .. }));
    let no_model = with_model(empty.path());
    assert!(matches!(no_model, Err(VerifyError::Load(_))));
}

fn with_model(model: &Path) -> Result<Report, VerifyError> {
    verify(model, &folder("golden"), On::default(), &mut |_| {})
}
