//! Static binaries: one explicit target for tests and images alike, one package after the other, so
//! that features of one never end up in another.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// What binaries of images are built for: this machine, the C library linked in.
pub const TARGET: &str = match std::env::consts::ARCH.as_bytes() {
    b"aarch64" => "aarch64-unknown-linux-gnu",
    _ => "x86_64-unknown-linux-gnu",
};

/// A binary of one of our packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binary<'a> {
    /// The package.
    pub package: &'a str,
    /// The binary.
    pub name: &'a str,
    /// Arguments to cargo that choose the features, for example `--no-default-features`.
    pub features: &'a [&'a str],
}

/// How a binary is optimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Quickly built, for tests.
    Dev,
    /// As it is shipped.
    Release,
}

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or_else(|| here.to_owned(), Path::to_owned)
}

/// The C library linked in. What is shipped has no path of this machine: another checkout makes the
/// same bytes. For tests checkouts share what they built instead: other flags would build it again.
fn flags(profile: Profile) -> String {
    let flags = "-C target-feature=+crt-static -C strip=debuginfo".to_owned();
    if profile == Profile::Dev {
        return flags;
    }
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let remapped = [Some((root(), "/penstock")), home.map(|home| (home, "/cargo"))];
    let remapped = remapped.into_iter().flatten();
    let remapped =
        remapped.map(|(from, to)| format!(" --remap-path-prefix={}={to}", from.display()));
    flags + &remapped.collect::<String>()
}

/// Builds a binary that needs nothing of the system it runs on, and returns its path.
///
/// # Errors
/// It does not build; cargo has said why on the standard error stream.
pub fn build(binary: Binary<'_>, profile: Profile) -> Result<PathBuf> {
    let target_dir =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let (arguments, folder): (&[&str], _) = match profile {
        Profile::Dev => (&[], "debug"),
        Profile::Release => (&["--release"], "release"),
    };
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--target", TARGET])
        .args(["--package", binary.package, "--bin", binary.name])
        .args(binary.features)
        .args(arguments)
        .arg("--target-dir")
        .arg(&target_dir)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", flags(profile))
        .current_dir(root())
        .stdout(Stdio::null())
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "{} of {} does not build", binary.name, binary.package);
    Ok(target_dir.join(TARGET).join(folder).join(binary.name))
}
