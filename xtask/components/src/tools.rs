//! Tools that are installed on demand, by the scripts in `setup/`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::root;

/// The path of `wasm-tools`, installed where it is missing.
///
/// # Errors
/// The script failed; it has said why on the standard error stream.
pub fn wasm_tools() -> Result<PathBuf> {
    script("wasm-tools.sh").map(PathBuf::from)
}

/// The argument that makes cargo use a toolchain with the WASM target (none for the default one),
/// installed where it is missing.
///
/// # Errors
/// The script failed; it has said why on the standard error stream.
pub fn wasm_toolchain() -> Result<Option<String>> {
    let argument = script("wasm-target.sh")?;
    Ok((!argument.is_empty()).then_some(argument))
}

/// What the programs of `ebpf/` are built with, installed where it is missing: the argument that makes
/// cargo use the toolchain (none for the default one), and the path of the linker.
///
/// # Errors
/// The script failed; it has said why on the standard error stream.
pub fn ebpf_toolchain() -> Result<(Option<String>, PathBuf)> {
    let lines = script("ebpf.sh")?;
    // Without an argument the first line is empty, and trimmed away.
    let (argument, linker) = lines.split_once('\n').unwrap_or(("", &lines));
    Ok(((!argument.is_empty()).then(|| argument.to_owned()), PathBuf::from(linker)))
}

/// Runs a script of `setup/` and returns what it prints.
fn script(name: &str) -> Result<String> {
    let path = root().join("xtask/setup").join(name);
    let mut command = Command::new("bash");
    without_cargo(command.arg(&path)).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("cannot run {}", path.display()))?;
    ensure!(output.status.success(), "xtask/setup/{name} failed ({})", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Takes away what the cargo that runs this tells its children, since another toolchain and
/// another target are about to be used.
pub fn without_cargo(command: &mut Command) -> &mut Command {
    let inherited = [
        "RUSTUP_TOOLCHAIN",
        "CARGO",
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
        "LD_LIBRARY_PATH",
    ];
    inherited.iter().fold(command, |command, name| command.env_remove(name))
}
