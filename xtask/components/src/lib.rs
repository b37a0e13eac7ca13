//! Builds components from source: for `cargo xtask filters`, and for tests that want a guest of
//! their own. Small on purpose: it knows the toolchain and the encoder, nothing of Penstock.

mod build;
mod heavy;
mod tools;

use std::path::{Path, PathBuf};

pub use build::{Component, build, encode, imports, target_dir};
pub use heavy::heavy;
pub use tools::{ebpf_toolchain, wasm_toolchain, wasm_tools, without_cargo};

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or_else(|| here.to_owned(), Path::to_owned)
}
