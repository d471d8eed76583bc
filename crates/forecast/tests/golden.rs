//! The shipped golden tensors of the PyTorch reference, through the model.

use std::path::Path;

use tidecast_forecast::verify::{Status, verify};

#[test]
fn the_model_agrees_with_the_reference_on_every_tensor() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut lines = Vec::new();
    let report = verify(&golden.join("model"), &golden, &mut |check| {
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
    for file in [
        "module_forward.safetensors",
        "forecast_uni_exact.safetensors",
        "forecast_uni_one_step.safetensors",
        "forecast_uni_ragged_missing.safetensors",
        "forecast_multi3_missing.safetensors",
        "forecast_multi2_feats.safetensors",
        "sampler.safetensors",
    ] {
        let checks = report.checks.iter().filter(|check| check.file == file).count();
        assert!(checks > 3, "only {checks} checks of {file}");
    }
}
