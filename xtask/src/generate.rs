//! `cargo xtask generate`: files that follow from the types and from the Gateway API's release.
//!
//! Three sources: the Rust types of `penstock-resources` (CRDs, field reference), the chart's values
//! (their reference), and the release of the Gateway API, fetched as a Go module, whose checksum the Go
//! toolchain verifies (schemas).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

mod crds;
mod reference;
mod schemas;
mod values;

/// What `cargo xtask generate` does.
#[derive(Debug, clap::Args)]
pub(crate) struct GenerateArgs {
    /// Write nothing; fail when a file is not what would be written.
    #[arg(long)]
    check: bool,
    /// Leave out what needs the Gateway API's release from the network.
    #[arg(long)]
    offline: bool,
}

/// A generated file.
pub(crate) struct Generated {
    /// From the root of the repository.
    path: PathBuf,
    contents: String,
}

/// Writes, or with `--check` compares, every generated file.
pub(crate) fn run(args: &GenerateArgs) -> Result<()> {
    let mut files = offline()?;
    if !args.offline {
        files.extend(schemas::from_release()?);
    }
    if args.check {
        let stale = stale(&files);
        if !stale.is_empty() {
            bail!("stale: {}; run `cargo xtask generate`", stale.join(", "));
        }
        println!("{} generated files are fresh", files.len());
        return Ok(());
    }
    for file in &files {
        let path = root().join(&file.path);
        let folder = path.parent().context("a generated file has a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        fs::write(&path, &file.contents).with_context(|| format!("writing {}", path.display()))?;
        println!("wrote {}", file.path.display());
    }
    Ok(())
}

/// The files that follow from the Rust types and the chart.
fn offline() -> Result<Vec<Generated>> {
    let definitions = crds::definitions()?;
    let mut files = crds::files(&definitions)?;
    files.extend(reference::files(&definitions)?);
    files.push(values::file()?);
    Ok(files)
}

/// Paths of those files that are not on disk as they would be written.
fn stale(files: &[Generated]) -> Vec<String> {
    let differs = |file: &&Generated| {
        fs::read_to_string(root().join(&file.path)).ok().as_deref() != Some(&file.contents)
    };
    files.iter().filter(differs).map(|file| file.path.display().to_string()).collect()
}

/// Root of the repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_follows_from_the_types_is_fresh() {
        let stale = super::stale(&super::offline().unwrap());
        assert!(stale.is_empty(), "run `cargo xtask generate`: {stale:?}");
    }
}
