//! `cargo xtask ebpf`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use xtask_components::{ebpf_toolchain, root, target_dir, without_cargo};

/// The programs, by the name of their crate's binary.
const PROGRAMS: &[&str] = &["steer"];

/// The one target: every machine that a node may be has this order of bytes.
const TARGET: &str = "bpfel-unknown-none";

/// Builds the programs of `ebpf/` into `ebpf/dist/<name>.o`, where the crates that load them find them.
/// A file is written only where its bytes change.
///
/// # Errors
/// No toolchain, or a program that does not compile.
pub(crate) fn run() -> Result<()> {
    let (dist, built) = (root().join("ebpf/dist"), build()?);
    fs::create_dir_all(&dist).with_context(|| format!("cannot make {}", dist.display()))?;
    for name in PROGRAMS {
        let from = built.join(name);
        let bytes = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
        let to = dist.join(name).with_extension("o");
        let fresh = fs::read(&to).is_ok_and(|there| there == bytes);
        if !fresh {
            fs::write(&to, &bytes).with_context(|| format!("cannot write {}", to.display()))?;
        }
        let unchanged = if fresh { "  (unchanged)" } else { "" };
        println!("{name:<14} {:>4} KiB{unchanged}", bytes.len().div_ceil(1024));
    }
    Ok(())
}

/// The folder with what was built.
fn build() -> Result<PathBuf> {
    let (toolchain, linker) = ebpf_toolchain()?;
    let target_dir = target_dir().join("ebpf");
    let tools = linker.parent().unwrap_or(Path::new("/"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(
        std::iter::once(tools.to_owned()).chain(std::env::split_paths(&path)),
    )?;
    let mut cargo = Command::new("cargo");
    without_cargo(&mut cargo)
        .args(toolchain)
        .args(["build", "--quiet", "--release", "--locked", "--target-dir"])
        .arg(&target_dir)
        .env("PATH", path)
        // aya-ebpf writes BPF instructions where the compiler has no function for them
        // (`asm_experimental_arch`), which a stable compiler must be told to allow.
        .env("RUSTC_BOOTSTRAP", "1")
        // Also where cargo looks for the workspace's `.cargo/config.toml`.
        .current_dir(root().join("ebpf"));
    let status = cargo.status().context("cannot run cargo")?;
    ensure!(status.success(), "the programs of ebpf/ do not build");
    Ok(target_dir.join(TARGET).join("release"))
}
