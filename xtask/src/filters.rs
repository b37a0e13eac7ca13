//! `cargo xtask filters`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use xtask_components::{Component, build, imports, root, target_dir};

/// What `cargo xtask filters` does.
#[derive(Debug, clap::Args)]
pub(crate) struct FiltersArgs {
    /// Folder of a crate or workspace with policies; they are written to FOLDER/dist.
    #[arg(value_name = "FOLDER", default_value_os_t = root().join("filters"))]
    folder: PathBuf,
    /// Write nothing; fail when a component in filters/dist is not what the sources make.
    #[arg(long)]
    check: bool,
}

/// Builds the policies of a folder, by default those of `filters/` and `examples/filters/`, into its
/// `dist/<name>.wasm`.
/// A file is written only where its bytes change. With `check` nothing is written.
///
/// # Errors
/// A policy does not build; with `check`: a file is not what the sources make.
pub(crate) fn run(args: &FiltersArgs) -> Result<()> {
    let FiltersArgs { check, ref folder } = *args;
    let dist = folder.join("dist");
    let components = build(folder, &target_dir().join("filters"))?;
    if !check {
        fs::create_dir_all(&dist).with_context(|| format!("cannot make {}", dist.display()))?;
    }
    let mut stale = Vec::new();
    for component in &components {
        let path = dist.join(&component.name).with_extension("wasm");
        let fresh = fs::read(&path).is_ok_and(|bytes| bytes == component.bytes);
        if !fresh && check {
            stale.push(component.name.as_str());
        } else if !fresh {
            write(&path, &component.bytes)?;
        }
        println!("{}", line(component, fresh)?);
    }
    if !stale.is_empty() {
        let (dist, stale) = (dist.display(), stale.join(", "));
        bail!("{dist} is stale for {stale}; remedy: cargo xtask filters {}", folder.display());
    }
    Ok(())
}

/// In one step, since a gateway may be watching the file.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension(format!("wasm.{}", std::process::id()));
    fs::write(&beside, bytes).with_context(|| format!("cannot write {}", beside.display()))?;
    fs::rename(&beside, path).with_context(|| format!("cannot write {}", path.display()))
}

fn line(component: &Component, fresh: bool) -> Result<String> {
    let imports = imports(&component.bytes)?;
    let capabilities: Vec<_> =
        imports.iter().filter_map(|import| import.strip_prefix("penstock:host/")).collect();
    let capabilities =
        if capabilities.is_empty() { "nothing".to_owned() } else { capabilities.join(", ") };
    Ok(format!(
        "{:<14} {:>4} KiB  imports {capabilities}{}",
        component.name,
        component.bytes.len().div_ceil(1024),
        if fresh { "  (unchanged)" } else { "" },
    ))
}
