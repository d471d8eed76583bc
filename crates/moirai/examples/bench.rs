//! Measures a model: one line of JSON for the machine, one per point.
//!
//! ```sh
//! cargo run --release -p tidecast-moirai --example bench -- \
//!     --model builtin:tiny --point 512,96,100,32 --rollout cached --threads 2
//! ```
//!
//! The same as `tidecast model bench --json`, without building the rest.
//! `--series FILE` takes the contexts from a file of little-endian f32,
//! as many series as fit, each as long as the context.

#![allow(clippy::print_stdout)] // the numbers are what it is for

use tidecast_forecast::{ModelSpec, Provider};
use tidecast_moirai::bench::{Machine, Point, load_and_forecast, measure};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let all = |name: &str| -> Vec<&str> {
        let pairs = arguments.chunks_exact(2).filter(|pair| pair[0] == name);
        pairs.map(|pair| pair[1].as_str()).collect()
    };
    let last = |name: &str| all(name).last().copied();
    let spec = ModelSpec {
        device: last("--device").unwrap_or("cpu").to_owned(),
        threads: last("--threads").map(str::parse).transpose()?,
        ..tidecast_moirai::spec()
    };
    let spec = spec
        .with_some("path", last("--model"))
        .with_some("rollout", last("--rollout"))
        .with_some("dtype", last("--dtype"));
    // Such as `--option sampling=independent`.
    let said = all("--option").into_iter().filter_map(|option| option.split_once('='));
    let spec = said.fold(spec, |spec, (name, value)| spec.with(name, value));
    let repeats = last("--repeats").unwrap_or("5").parse()?;
    let machine = Machine::measure_for(&spec)?;
    let (mut model, loading) = load_and_forecast(&spec)?;
    println!(
        "{}",
        serde_json::json!({
            "machine": machine,
            "load_to_forecast_s": loading.as_secs_f64(),
            "model": model.info(),
        })
    );
    for text in all("--point") {
        let numbers: Vec<usize> = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
        let [context, horizon, samples, batch] = numbers[..] else {
            return Err(format!("--point {text}: expected context,horizon,samples,batch").into());
        };
        let point = Point { context, horizon, samples, batch };
        let series = last("--series").map(|path| read(path, context)).transpose()?;
        let measured = measure(&mut model, point, series.as_deref(), repeats, &machine)?;
        println!("{}", serde_json::to_string(&measured)?);
    }
    Ok(())
}

fn read(path: &str, context: usize) -> std::io::Result<Vec<Vec<f64>>> {
    let bytes = std::fs::read(path)?;
    let number = |word: &[u8; 4]| f64::from(f32::from_le_bytes(*word));
    let numbers: Vec<f64> = bytes.as_chunks::<4>().0.iter().map(number).collect();
    Ok(numbers.chunks_exact(context).map(<[f64]>::to_vec).collect())
}
