//! What a cluster is made of: programs, and the images that every node has.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use xtask_images::{Binary, Image, Profile};

use crate::node::SANDBOX_IMAGE;

/// The image of cluster DNS, as `dns.yaml` names it.
const DNS_IMAGE: &str = "docker.io/penstock/test-coredns:dev";

/// The folder of the built programs, brought where it is missing.
///
/// # Errors
/// The script failed; it has said why on the standard error stream.
pub(crate) fn bin() -> Result<PathBuf> {
    let script = xtask_images::root().join("xtask/setup/cluster.sh");
    let mut command = Command::new("bash");
    let output = command.arg(&script).stderr(Stdio::inherit()).output().context("no bash")?;
    ensure!(output.status.success(), "{} failed ({})", script.display(), output.status);
    let text = String::from_utf8(output.stdout)?;
    let folder = text.lines().last().context("the script printed no folder")?;
    Ok(PathBuf::from(folder))
}

/// The images that every node has, as an archive: what the tests' own pods run (see `pod/`), which also
/// holds the namespaces of every pod, and DNS.
///
/// # Errors
/// One does not build, or the archive cannot be written.
pub(crate) fn images(bin: &Path, archive: &Path) -> Result<()> {
    let binary = Binary { package: "penstock-test-pod", name: "penstock-test-pod", apart: false };
    let mut pod =
        Image::of(SANDBOX_IMAGE, &xtask_images::build(binary, Profile::Dev)?, "test-pod")?;
    pod.cmd = vec!["pause".to_owned()];
    let dns = Image::of(DNS_IMAGE, &bin.join("coredns"), "coredns")?;
    xtask_images::write(&[pod, dns], archive)
}
