//! Control groups of machines, in every hierarchy that is mounted.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::wait;

/// The groups of that name that exist, one for each hierarchy of `mounts` (as in `/proc/self/mounts`).
pub(crate) fn find(name: &str, mounts: &str) -> Vec<PathBuf> {
    let hierarchies = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup" || kind == "cgroup2").then(|| Path::new(point).join(name))
    });
    hierarchies.filter(|path| path.exists()).collect()
}

/// Removes groups and those below them.
///
/// # Errors
/// Something still runs in one after ten seconds.
pub(crate) fn remove(groups: &[PathBuf]) -> Result<()> {
    for group in groups {
        // A killed process is in its group until the kernel is done with it.
        let what = format!("{} can be removed", group.display());
        wait::until(&what, Duration::from_secs(10), || Ok(remove_group(group).is_ok()))?;
    }
    Ok(())
}

/// A group's files cannot be removed, nor need they.
fn remove_group(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_group(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
