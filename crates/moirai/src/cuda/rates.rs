//! What a card does at best: the yardsticks of `model bench`.

use std::time::Instant;

use cudarc::cublas::sys::{self as cublas, cublasOperation_t::CUBLAS_OP_N};
use cudarc::cublas::{CudaBlas, Gemm, GemmConfig};
use cudarc::driver::{CudaSlice, DeviceRepr};
use half::{bf16, f16};

use super::gpu::{CudaError, Gpu, Result};
use crate::precision::Precision;

/// How often each is done, after once that is not counted.
const TIMES: usize = 10;

/// Returns the rate of large matrix products of these numbers, in operations a
/// second (cuBLAS's, 8,192 in each direction), and of copying within the card's
/// memory, in bytes read and written a second.
pub(super) fn rates(gpu: &Gpu, precision: Precision) -> Result<(f64, f64)> {
    // SAFETY: looks for a library of the system under its usual names.
    if !unsafe { cublas::is_culib_present() } {
        return Err(CudaError::Driver(
            "libcublas.so is not installed, whose matrix product is the yardstick".to_owned(),
        ));
    }
    let products = match precision {
        Precision::F32 => products::<f32>(gpu, 0.5, 0.0),
        Precision::F16 => products(gpu, f16::from_f32(0.5), f16::ZERO),
        Precision::Bf16 => products(gpu, bf16::from_f32(0.5), bf16::ZERO),
    };
    Ok((products?, copies(gpu)?))
}

fn products<T>(gpu: &Gpu, one: T, zero: T) -> Result<f64>
where
    T: DeviceRepr + Copy,
    CudaBlas: Gemm<T>,
{
    const SIZE: usize = 8192;
    let failed = |error: cudarc::cublas::result::CublasError| {
        CudaError::Driver(format!("cuBLAS does not multiply: {error}"))
    };
    let blas = CudaBlas::new(gpu.stream().clone()).map_err(failed)?;
    let numbers = vec![one; SIZE * SIZE];
    let left = gpu.stream().clone_htod(&numbers)?;
    let right = gpu.stream().clone_htod(&numbers)?;
    let mut out = left.try_clone()?;
    let size = SIZE as i32;
    let config = || GemmConfig {
        transa: CUBLAS_OP_N,
        transb: CUBLAS_OP_N,
        m: size,
        n: size,
        k: size,
        alpha: one,
        lda: size,
        ldb: size,
        beta: zero,
        ldc: size,
    };
    let seconds = time(gpu, || {
        // SAFETY: three square matrices of SIZE, as the configuration says.
        unsafe { blas.gemm(config(), &left, &right, &mut out) }.map_err(failed)
    })?;
    Ok(2.0 * (SIZE as f64).powi(3) / seconds)
}

fn copies(gpu: &Gpu) -> Result<f64> {
    const BYTES: usize = 1 << 30;
    let from: CudaSlice<u8> = gpu.stream().alloc_zeros(BYTES)?;
    let mut to: CudaSlice<u8> = gpu.stream().alloc_zeros(BYTES)?;
    let seconds = time(gpu, || Ok(gpu.stream().memcpy_dtod(&from, &mut to)?))?;
    Ok(2.0 * BYTES as f64 / seconds)
}

/// Returns the seconds that one round of work takes.
fn time(gpu: &Gpu, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    work()?;
    gpu.synchronize()?;
    let started = Instant::now();
    for _ in 0..TIMES {
        work()?;
    }
    gpu.synchronize()?;
    Ok(started.elapsed().as_secs_f64() / TIMES as f64)
}
