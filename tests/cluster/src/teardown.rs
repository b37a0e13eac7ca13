//! Taking a cluster away, whatever is left of it: found by names and marks, never by what somebody
//! remembered.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::layout::Layout;
use crate::{cgroups, network, process, wait};

/// What of a cluster exists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remains {
    /// Processes of its machines, those of pods among them.
    pub processes: BTreeSet<i32>,
    /// Network namespaces.
    pub namespaces: Vec<String>,
    /// Groups of processes in the control group file system.
    pub cgroups: Vec<PathBuf>,
    /// Mounts below its folder, seen from outside its machines.
    pub mounts: Vec<PathBuf>,
    /// Whether its folder is there.
    pub folder: bool,
}

impl Remains {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Looks for what exists of a cluster.
///
/// # Errors
/// The mounts of this process cannot be read.
pub(crate) fn remains(layout: &Layout) -> Result<Remains> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read mounts")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let (marked, grouped) =
        (process::marked(&[&layout.mark()]), process::grouped(&layout.cgroup()));
    Ok(Remains {
        processes: marked
            .into_iter()
            .chain(grouped)
            .map(|pid| pid.as_raw_nonzero().get())
            .collect(),
        namespaces: namespaces(&layout.prefix()),
        cgroups: cgroups::find(&layout.cgroup(), &mounts),
        mounts: points.filter(|point| point.starts_with(layout.dir())).collect(),
        folder: layout.dir().exists(),
    })
}

/// Takes everything away.
///
/// # Errors
/// Something cannot be taken away: it is named.
pub(crate) fn remove(layout: &Layout) -> Result<()> {
    process::kill_all(&[&layout.mark()])?;
    // A killed process has no environment any more some time before it is gone.
    wait::until("what ran is gone", Duration::from_secs(10), || {
        Ok(remains(layout)?.processes.is_empty())
    })?;
    let found = remains(layout)?;
    for netns in &found.namespaces {
        network::delete(netns)?;
    }
    cgroups::remove(&found.cgroups)?;
    if found.folder {
        ensure!(found.mounts.is_empty(), "mounted below the cluster's folder: {:?}", found.mounts);
        remove_folder(layout)
            .with_context(|| format!("cannot remove {}", layout.dir().display()))?;
    }
    Ok(())
}

/// Removes the folder of a cluster, and no other: what says that it is one goes last.
fn remove_folder(layout: &Layout) -> Result<()> {
    let state = layout.state();
    let entries = fs::read_dir(layout.dir())?.collect::<std::io::Result<Vec<_>>>()?;
    ensure!(entries.is_empty() || state.exists(), "this is no folder of a cluster");
    for entry in entries.iter().filter(|entry| entry.path() != state) {
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    if state.exists() {
        fs::remove_file(state)?;
    }
    Ok(fs::remove_dir(layout.dir())?)
}

fn namespaces(prefix: &str) -> Vec<String> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().filter_map(Result::ok);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}
