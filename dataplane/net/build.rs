//! Finds the program that is embedded: `cargo xtask ebpf` has built it.

use std::path::Path;

fn main() -> Result<(), String> {
    let here = std::env::var("CARGO_MANIFEST_DIR").map_err(|error| error.to_string())?;
    let object = Path::new(&here).join("../../ebpf/dist/steer.o");
    println!("cargo::rerun-if-changed={}", object.display());
    let object = object
        .canonicalize()
        .map_err(|error| format!("{}: {error}; remedy: cargo xtask ebpf", object.display()))?;
    println!("cargo::rustc-env=PENSTOCK_STEER={}", object.display());
    Ok(())
}
