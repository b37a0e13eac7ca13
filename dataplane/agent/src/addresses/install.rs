//! The plugin and the network configuration, where kubelet's runtime looks for them.
//!
//! The configuration is written last, when addresses can be given: with it the node becomes ready. Each
//! file is replaced as a whole.

use serde_json::{Value, json};
use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// Name of the configuration: before those of others, of which the runtime takes the first.
const FILE: &str = "05-penstock.conflist";

/// Its name while no agent gives addresses any more and pods of its network run, which the runtime cannot
/// end without it: after those of others.
const LEFT: &str = "99-penstock.conflist";

/// Name of the plugin.
const PLUGIN: &str = "penstock-cni";

/// Plugins of the CNI project that do what Penstock does not, where the node has them: ports of the node
/// (`hostPort`), and limits (the annotations `kubernetes.io/ingress-bandwidth`, `egress-bandwidth`). With
/// `snat` a pod reaches itself by a port of the node, and the node its pods by one of 127.0.0.1; for
/// everybody else the client's address is kept. The mark that portmap has masqueraded by, 0x2000, is that of
/// the workers' answers too; those are not tracked, so that no rule of NAT sees them.
fn chained() -> [Value; 2] {
    [
        json!({"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}),
        json!({"type": "bandwidth", "capabilities": {"bandwidth": true}}),
    ]
}

/// A file cannot be written. The node is at fault.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be written: {source}")]
pub struct InstallError {
    path: PathBuf,
    source: io::Error,
}

/// The network configuration of this node.
#[derive(Clone, Debug)]
pub struct Conflist {
    binaries: PathBuf,
    configurations: PathBuf,
}

impl Conflist {
    /// Where every runtime looks.
    pub fn of_node() -> Self {
        Self::new(Path::new("/opt/cni/bin"), Path::new("/etc/cni/net.d"))
    }

    /// For these folders of the node, as this process sees them.
    pub fn new(binaries: &Path, configurations: &Path) -> Self {
        Self { binaries: binaries.to_owned(), configurations: configurations.to_owned() }
    }

    /// Copies the plugin to the node.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn install_plugin(&self, from: &Path) -> Result<(), InstallError> {
        let copy = || {
            let content = fs::read(from)?;
            replace(&self.binaries.join(PLUGIN), &content, 0o755)
        };
        copy().map_err(|source| InstallError { path: self.binaries.join(PLUGIN), source })
    }

    /// Writes the configuration, unless it is there as it shall be.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn write(&self, socket: &Path) -> Result<(), InstallError> {
        let path = self.configurations.join(FILE);
        let content = format!("{:#}\n", self.content(socket));
        if !fs::read(&path).is_ok_and(|there| there == content.as_bytes()) {
            replace(&path, content.as_bytes(), 0o644)
                .map_err(|source| InstallError { path, source })?;
        }
        self.without(LEFT)
    }

    /// Takes the configuration away, so that no pod is started that could get no address.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn remove(&self) -> Result<(), InstallError> {
        self.without(FILE)?;
        self.without(LEFT)
    }

    /// Leaves the configuration for the pods that run, and only where there is no other one for new pods,
    /// which wait then.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn leave(&self) -> Result<(), InstallError> {
        let path = self.configurations.join(FILE);
        match fs::rename(&path, self.configurations.join(LEFT)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(|source| InstallError { path, source }),
        }
    }

    fn without(&self, file: &str) -> Result<(), InstallError> {
        let path = self.configurations.join(file);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(|source| InstallError { path, source }),
        }
    }

    fn content(&self, socket: &Path) -> Value {
        let mut plugins = vec![json!({"type": PLUGIN, "agentSocket": socket})];
        for chained in chained() {
            let plugin = chained["type"].as_str().unwrap_or_default();
            // A link may lead to where only the node sees.
            if self.binaries.join(plugin).symlink_metadata().is_ok() {
                plugins.push(chained);
            } else {
                tracing::warn!(
                    plugin,
                    folder = %self.binaries.display(),
                    "the node lacks a plugin of the CNI project: what it does is left out"
                );
            }
        }
        // Runtimes that know 1.1.0 take the newest of the list; others look at the first field alone.
        json!({
            "cniVersion": "1.0.0", "cniVersions": ["1.0.0", "1.1.0"],
            "name": "penstock", "plugins": plugins,
        })
    }
}

fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    // Not one that the runtime would read: it looks at names that end in conf, conflist or json.
    let new = folder.join(format!(".{}.new", path.file_name().unwrap_or_default().display()));
    fs::write(&new, content)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(mode))?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_the_plugins_that_the_node_has() {
        let folder = tempfile::tempdir().unwrap();
        let (binaries, configurations) = (folder.path().join("bin"), folder.path().join("net.d"));
        let conflist = Conflist::new(&binaries, &configurations);
        let plugin = folder.path().join("plugin");
        fs::write(&plugin, "program").unwrap();
        conflist.install_plugin(&plugin).unwrap();
        let mode = fs::metadata(binaries.join(PLUGIN)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        fs::write(binaries.join("portmap"), "").unwrap();
        conflist.write(Path::new("/run/a.sock")).unwrap();
        let text = fs::read_to_string(configurations.join(FILE)).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let types: Vec<_> =
            value["plugins"].as_array().unwrap().iter().map(|p| p["type"].clone()).collect();
        assert_eq!(types, [PLUGIN, "portmap"]);
        conflist.leave().unwrap();
        conflist.leave().unwrap();
        assert!(configurations.join(LEFT).exists() && !configurations.join(FILE).exists());
        conflist.write(Path::new("/run/a.sock")).unwrap();
        assert!(!configurations.join(LEFT).exists() && configurations.join(FILE).exists());
        conflist.remove().unwrap();
        conflist.remove().unwrap();
        assert_eq!(fs::read_dir(&configurations).unwrap().count(), 0);
    }
}
