//! The Gateway API's resource definitions, and where the modules of its tests are.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::wait;

/// Applies the Gateway API's standard definitions, and waits until they are served. Ours come with the
/// chart.
///
/// # Errors
/// The Gateway API's module cannot be had; the API server refuses a definition.
pub fn apply(cluster: &Cluster) -> Result<()> {
    let folder = gateway_api()?.join("config/crd/standard").display().to_string();
    // On the server's side: the largest definition is larger than an annotation may be.
    cluster.kubectl(&["apply", "--server-side", "-f", &folder])?;
    wait::until("the definitions are served", Duration::from_secs(30), || {
        let wait = ["wait", "crd", "--all", "--for=condition=Established", "--timeout=10s"];
        Ok(cluster.kubectl(&wait).is_ok())
    })
}

/// The folder of the Gateway API's module in the version that the conformance suite is of.
///
/// # Errors
/// Go is missing or cannot bring the module.
pub fn gateway_api() -> Result<PathBuf> {
    module("sigs.k8s.io/gateway-api")
}

/// The folder of a Go module that the conformance tests require.
///
/// # Errors
/// Go is missing or cannot bring the module.
pub fn module(name: &str) -> Result<PathBuf> {
    let mut go = Command::new("go");
    go.args(["mod", "download", "-json", name]);
    let output = go.current_dir(xtask_images::root().join("tests/conformance")).output();
    let output = output.context("cannot run go (the test cluster is built with Go 1.26)")?;
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let folder = said["Dir"].as_str();
    ensure!(output.status.success(), "go mod download {name}: {}", said["Error"]);
    Ok(PathBuf::from(folder.with_context(|| format!("go mod download {name} named no folder"))?))
}
