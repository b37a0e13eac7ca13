//! Takes away what agents set up on a node.

use crate::{addresses::Conflist, args::UninstallArgs};
use anyhow::Context as _;
use penstock_net::{egress, nat, pods, routes, uplinks};
use penstock_telemetry::{
    PageFormat,
    admin::{AdminServer, AdminSource},
};
use std::{collections::BTreeSet, fs, io, path::Path, sync::Arc};
use tokio::signal::unix::{SignalKind, signal};

/// What keeps which pod has which address (`--addresses-file`).
const STATE: &str = "addresses.json";

/// Says that it is done: nothing before that answers.
struct Done;

impl AdminSource for Done {
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn metrics(&self, _: PageFormat) -> String {
        String::new()
    }

    fn config(&self) -> serde_json::Value {
        serde_json::json!({})
    }
}

/// Takes programs, addresses, rules, routes and folders away, but no pod that runs its network; where
/// somebody is to be told, stays until SIGTERM or SIGINT.
///
/// # Errors
/// No privilege; a part may be left.
pub fn uninstall(args: &UninstallArgs) -> anyhow::Result<()> {
    // First what brings clients here.
    penstock_net::announce(&BTreeSet::new())?;
    penstock_net::uninstall(&args.pins.pins)?;
    nat::remove()?;
    routes::remove()?;
    // The plugin stays: without it the runtime could not end the pods that are there.
    let running = pods::wires()?.len();
    if running > 0 {
        Conflist::of_node().leave()?;
    } else {
        Conflist::of_node().remove()?;
        egress::remove()?;
        uplinks::set(&[])?;
        pods::remove()?;
    }
    // Who installs again has to know at once which addresses are in use, and by which interface they leave.
    let kept = if running > 0 { STATE } else { "" };
    for folder in &args.remove {
        empty(folder, kept)
            .with_context(|| format!("cannot remove all of {}", folder.display()))?;
    }
    let Some(address) = args.admin else { return Ok(()) };
    match running {
        0 => println!("nothing is left on this node"),
        _ => println!(
            "{running} pods of this node go on with their addresses: the rules and routes of these stay \
             until it boots"
        ),
    }
    let admin = AdminServer::start(address, Arc::new(Done))
        .with_context(|| format!("cannot serve {address}; use another --admin"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot receive SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot receive SIGINT")?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        anyhow::Ok(())
    })?;
    drop(admin);
    Ok(())
}

/// Empties a folder, which may be a mount and stays, but for a file; one that is not there is empty.
fn empty(folder: &Path, kept: &str) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name() == kept {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_emptied_and_stays_and_one_that_is_missing_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/c"), "c").unwrap();
        std::os::unix::fs::symlink("/", folder.path().join("link")).unwrap();
        fs::write(folder.path().join(STATE), "").unwrap();
        empty(folder.path(), STATE).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        empty(folder.path(), "").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        empty(&folder.path().join("missing"), "").unwrap();
    }
}
