//! Compiles the CUDA kernels, with the feature `cuda` alone.
//!
//! Machine code for compute capabilities 8.0, 8.9 and 9.0 and PTX for newer
//! cards (of 9.0 without what Hopper alone has) go into the binary, so nothing is compiled at the first start. Settings
//! (environment): `NVCC` (else `nvcc` of `CUDA_HOME` or `PATH`);
//! `TIDECAST_CUDA_ARCHS`, as in `80;90a`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const SOURCES: [&str; 4] = ["attention", "matmul", "pointwise", "sample"];
const ARCHITECTURES: &str = "80;89;90a";

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=kernels");
    for name in ["NVCC", "CUDA_HOME", "TIDECAST_CUDA_ARCHS"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return ExitCode::SUCCESS;
    }
    let (nvcc, out) = (nvcc(), PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()));
    // Side by side: each takes seconds for each architecture.
    let compile = |source: &str| compile(&nvcc, source, &out);
    let problems: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> =
            SOURCES.iter().map(|source| scope.spawn(move || compile(source))).collect();
        running.into_iter().filter_map(|one| one.join().ok()?.err()).collect()
    });
    for problem in &problems {
        eprintln!("{problem}");
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn nvcc() -> PathBuf {
    let of_home = |home| Path::new(&home).join("bin/nvcc");
    let given = std::env::var_os("NVCC").map(PathBuf::from);
    given.or_else(|| std::env::var_os("CUDA_HOME").map(of_home)).unwrap_or_else(|| "nvcc".into())
}

fn compile(nvcc: &Path, source: &str, out: &Path) -> Result<(), String> {
    let named = std::env::var("TIDECAST_CUDA_ARCHS").unwrap_or_else(|_| ARCHITECTURES.to_owned());
    let mut command = Command::new(nvcc);
    command.args(["-fatbin", "-O3", "-std=c++17"]);
    let mut newest = "80";
    for architecture in named.split(';') {
        command.arg(format!("-gencode=arch=compute_{architecture},code=sm_{architecture}"));
        newest = newest.max(architecture.trim_end_matches('a'));
    }
    command.arg(format!("-gencode=arch=compute_{newest},code=compute_{newest}"));
    command.arg("-o").arg(out.join(format!("{source}.fatbin")));
    command.arg(format!("kernels/{source}.cu"));
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{} of {source}.cu failed: {status}", nvcc.display())),
        Err(error) => Err(format!(
            "`{}` cannot be started ({error}): the feature `cuda` needs NVIDIA's compiler; \
             `crates/moirai/kernels/toolkit.sh` fetches one",
            nvcc.display()
        )),
    }
}
