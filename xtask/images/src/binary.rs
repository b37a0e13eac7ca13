//! Binaries of images. What is shipped is static, one package after the other, so that features of one
//! never end up in another. For tests a binary may be the one that the tests are built with, which nothing
//! has to be compiled for: it lies in its image with the libraries that it is linked to.

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
    /// Whether it is built by itself for tests too: it must not have what others need of its crates.
    pub apart: bool,
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

/// The shared libraries that a binary is linked to; a static one to none.
///
/// # Errors
/// `ldd` cannot be run.
pub(crate) fn libraries(binary: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(binary).output().context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let paths = text.lines().filter_map(|line| {
        let path = line.split_once("=> ").map_or(line.trim(), |(_, path)| path);
        path.split_whitespace().next().filter(|path| path.starts_with('/'))
    });
    Ok(paths.map(PathBuf::from).collect())
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

/// Builds a binary and returns its path. One that is static needs nothing of the system it runs on.
///
/// # Errors
/// It does not build; cargo has said why on the standard error stream.
pub fn build(binary: Binary<'_>, profile: Profile) -> Result<PathBuf> {
    match profile {
        Profile::Dev if !binary.apart => of_tests(binary),
        _ => apart(binary, profile),
    }
}

/// As `cargo test --workspace` builds it: a test among what is asked for makes cargo choose the same
/// features.
fn of_tests(binary: Binary<'_>) -> Result<PathBuf> {
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--workspace", "--bin", binary.name, "--test", "house"])
        .current_dir(root())
        .stdout(Stdio::null())
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "{} of {} does not build", binary.name, binary.package);
    let built = target_dir().join("debug").join(binary.name);
    let stripped = target_dir().join("images").join(binary.name);
    std::fs::create_dir_all(target_dir().join("images"))?;
    let mut strip = Command::new("strip");
    strip.arg("--strip-debug").arg("-o").arg(&stripped).arg(&built);
    let status = strip.status().context("cannot run strip (Debian: binutils)")?;
    ensure!(status.success(), "strip refuses {}", built.display());
    Ok(stripped)
}

fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn apart(binary: Binary<'_>, profile: Profile) -> Result<PathBuf> {
    let target_dir = target_dir();
    let (arguments, folder): (&[&str], _) = match profile {
        Profile::Dev => (&[], "debug"),
        Profile::Release => (&["--release"], "release"),
    };
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--target", TARGET])
        .args(["--package", binary.package, "--bin", binary.name])
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
