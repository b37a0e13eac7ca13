//! What a cluster is made of: programs, and the image of the pods that hold namespaces.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use xtask_images::{Binary, File, Image, Profile};

use crate::node::SANDBOX_IMAGE;

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

/// The image of the test pods as an archive: see `pod/`.
///
/// # Errors
/// It does not build, or cannot be written.
pub(crate) fn test_pod(archive: &Path) -> Result<()> {
    let binary = Binary { package: "penstock-test-pod", name: "penstock-test-pod", features: &[] };
    let content = std::fs::read(xtask_images::build(binary, Profile::Dev)?)?;
    let image = Image {
        name: SANDBOX_IMAGE.to_owned(),
        files: vec![File { path: "test-pod".to_owned(), mode: 0o755, content }],
        entrypoint: vec!["/test-pod".to_owned()],
        cmd: vec!["pause".to_owned()],
        ..Image::default()
    };
    xtask_images::write(&[image], archive)
}
