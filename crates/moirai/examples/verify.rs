//! Compares a model with golden tensors of the reference, on any device.
//!
//! ```sh
//! cargo run --release -p tidecast-moirai --example verify -- FOLDER [DEVICE [DTYPE]]
//! ```
//!
//! The folder holds golden files and, in `model/`, the checkpoint. The same as
//! `tidecast model verify`, without building the rest.

#![allow(clippy::print_stdout)] // the comparison is what it is for

use std::path::Path;

use tidecast_moirai::verify::{On, Status, verify};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("expected a folder of golden tensors")?;
    let device = arguments.next().unwrap_or_else(|| "cpu".to_owned());
    let dtype = arguments.next().as_deref().unwrap_or("f32").parse()?;
    let folder = Path::new(&folder);
    let on = On { device: &device, dtype };
    let report = verify(&folder.join("model"), folder, on, &mut |check| {
        if check.status != Status::Passed {
            let (file, quantity) = (&check.file, &check.quantity);
            println!("{file} {quantity}: {:e} of {:e}", check.error, check.tolerance);
        }
    })?;
    let (all, failed) = (report.checks.len(), report.failed());
    println!("{all} checks, {failed} failed, {} unsupported", report.unsupported());
    if report.passed() { Ok(()) } else { Err("not the reference".into()) }
}
