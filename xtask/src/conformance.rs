//! `cargo xtask conformance`: the official suite of the Gateway API against a test cluster.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use penstock_test_cluster::{Cluster, crds, default_dir};
use xtask_images::Image;

/// Run the official conformance suite of the Gateway API where clients of the test cluster are
#[derive(Debug, clap::Args)]
pub(crate) struct ConformanceArgs {
    /// The profiles, with commas between
    #[arg(long, default_value = "GATEWAY-HTTP")]
    profiles: String,
    /// Only tests whose name matches this pattern, for example 'HTTPRoute.*Match'
    #[arg(long)]
    run: Option<String>,
    /// The GatewayClass, whose status says which features are claimed
    #[arg(long, default_value = "penstock")]
    class: String,
    /// The cluster's folder [default: in the cache]
    #[arg(long)]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &ConformanceArgs) -> Result<ExitCode> {
    let cluster = Cluster::open(&args.dir.clone().unwrap_or_else(default_dir))?;
    let built = built()?;
    cluster.import_images(&images(&cluster, &built)?)?;
    let narrowed = args.run.iter().map(|pattern| format!("/{pattern}")).collect::<String>();
    let status = cluster
        .client(built.join("conformance.test"))
        .args(["-test.v", "-test.timeout=60m", "-cleanup-base-resources=true"])
        .arg(format!("-test.run=^TestConformance${narrowed}"))
        .arg(format!("-conformance-profiles={}", args.profiles))
        .arg(format!("-gateway-class={}", args.class))
        .status()
        .context("cannot run the suite")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
            _ => anyhow::bail!("the suite wants an image that is not made here: {name}"),
        };
        let file = program.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Image::of(name, &program, file)
    });
    let archive = cluster.dir().join("conformance-images.tar");
    xtask_images::write(&images.collect::<Result<Vec<_>>>()?, &archive)?;
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
