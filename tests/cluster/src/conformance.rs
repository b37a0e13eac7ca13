//! The official conformance suite of the Gateway API, run where clients of a cluster are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use xtask_images::Image;

use crate::cluster::Cluster;
use crate::crds;
use crate::install::{FREE_ADDRESS, UNKNOWN_ADDRESS};

/// The image of the suite's backends, which says in JSON what reached it.
pub const ECHO_IMAGE: &str = "docker.io/penstock/test-echo:dev";

/// What of the suite is run.
#[derive(Debug, Clone)]
pub struct Suite {
    /// The profiles, with commas between.
    pub profiles: String,
    /// Only tests whose name matches this pattern, for example `HTTPRoute.*Match`.
    pub run: Option<String>,
    /// The GatewayClass, whose status says which features are claimed.
    pub class: String,
}

impl Default for Suite {
    fn default() -> Self {
        Self { profiles: "GATEWAY-HTTP".into(), run: None, class: "penstock".into() }
    }
}

impl Suite {
    /// The suite as a program that is ready to run; it succeeds when every test that was run passed.
    /// Its backends' images are on the nodes then.
    ///
    /// # Errors
    /// It does not build; a node refuses the images.
    pub fn prepare(&self, cluster: &Cluster) -> Result<Command> {
        let built = built()?;
        cluster.import_images(&images(cluster, &built)?)?;
        let narrowed = self.run.iter().map(|pattern| format!("/{pattern}")).collect::<String>();
        let mut suite = cluster.client(built.join("conformance.test"));
        suite
            .args(["-test.v", "-test.timeout=60m", "-cleanup-base-resources=true"])
            .arg(format!("-test.run=^TestConformance${narrowed}"))
            .arg(format!("-conformance-profiles={}", self.profiles))
            .arg(format!("-gateway-class={}", self.class))
            .arg(format!("-usable-address={FREE_ADDRESS}"))
            .arg(format!("-unusable-address={UNKNOWN_ADDRESS}"));
        Ok(suite)
    }
}

/// Puts the image of the suite's backends on the nodes, as [`ECHO_IMAGE`].
///
/// # Errors
/// It does not build; a node refuses it.
pub fn import_echo(cluster: &Cluster) -> Result<()> {
    let image = Image::of(ECHO_IMAGE, &built()?.join("echo-basic"), "echo-basic")?;
    let archive = cluster.dir().join("echo-image.tar");
    xtask_images::write(&[image], &archive)?;
    cluster.import_images(&archive)
}

/// The folder of the built suite and of its backends' server.
fn built() -> Result<PathBuf> {
    let script = xtask_images::root().join("tests/conformance/build.sh");
    let output = Command::new("bash").arg(&script).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{} failed ({})", script.display(), output.status);
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

/// An archive with the images that the suite's manifests name: nothing is pulled.
fn images(cluster: &Cluster, built: &Path) -> Result<PathBuf> {
    let mut named = BTreeSet::new();
    let suite = crds::module("sigs.k8s.io/gateway-api/conformance")?;
    for folder in ["base", "tests"] {
        named_images(&suite.join(folder), &mut named)?;
    }
    let images = named.iter().map(|name| {
        let program = match name.rsplit('/').next().and_then(|last| last.split(':').next()) {
            Some("echo-basic") => built.join("echo-basic"),
            Some("coredns") => cluster.bin().join("coredns"),
            _ => bail!("the suite wants an image that is not made here: {name}"),
        };
        let file = program.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Image::of(name, &program, file)
    });
    let archive = cluster.dir().join("conformance-images.tar");
    xtask_images::write(&images.collect::<Result<Vec<_>>>()?, &archive)
        .context("the images of the suite's backends")?;
    Ok(archive)
}

/// The images that the manifests in a folder name.
fn named_images(folder: &Path, named: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            named_images(&path, named)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let manifest = fs::read_to_string(&path)?;
            let lines = manifest
                .lines()
                .filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("image:"));
            named.extend(lines.map(|name| name.trim().trim_matches('"').to_owned()));
        }
    }
    Ok(())
}
