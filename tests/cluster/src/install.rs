//! Penstock in the cluster, as its users install it: images, chart, a pool of addresses.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::cluster::{Cluster, output};

/// Where tests install the chart, and what they call the release.
pub const NAMESPACE: &str = "penstock-system";
const RELEASE: &str = "penstock";
/// An address of the pool that is high in its range: free, unless a Gateway asks for it.
pub const FREE_ADDRESS: &str = "10.88.0.190";
/// An address of the same network that no pool has.
pub const UNKNOWN_ADDRESS: &str = "10.88.0.250";
/// Where a registry may listen that the operator speaks to without TLS: at the client.
pub const PLAIN_REGISTRY: &str = "10.88.0.1:5000";
/// Addresses for Gateways, of the network where the client and the uplinks are.
const POOL: &str = "
apiVersion: penstock.dev/v1alpha1
kind: LoadBalancerPool
metadata: { name: lan }
spec:
  ranges:
    - { start: 10.88.0.100, stop: 10.88.0.199 }
    - { start: 'fd88::100', stop: 'fd88::1ff' }
";

/// The archive that `cargo xtask images` writes.
pub fn images() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| xtask_images::root().join("target"), PathBuf::from);
    target.join("penstock-images.tar")
}

impl Cluster {
    /// Installs Penstock from its chart with the images of an archive, and a `LoadBalancerPool` whose
    /// addresses the client reaches. `values` are further arguments for helm.
    ///
    /// # Errors
    /// The archive is missing; helm refuses or does not see everything ready in two minutes.
    pub fn install(&self, archive: &Path, values: &[&str]) -> Result<()> {
        ensure!(archive.exists(), "{} is missing: cargo xtask images makes it", archive.display());
        self.import_images(archive)?;
        self.helm("install", values)?;
        self.apply(POOL)
    }

    /// Runs helm for our release: `install` or `upgrade` with the chart of this repository, the images
    /// that were imported and further arguments, and waits until everything is ready.
    ///
    /// # Errors
    /// What helm said.
    pub fn helm(&self, action: &str, values: &[&str]) -> Result<()> {
        let chart = xtask_images::root().join("charts/penstock");
        let mut helm = self.client("helm");
        helm.args([action, RELEASE]).arg(chart).args(["--namespace", NAMESPACE]);
        helm.args(["--set", "image.tag=dev", "--wait", "--timeout", "2m"]);
        // Tags that move are seen while a test waits.
        helm.args(["--set", "operator.moduleRefresh=2"]);
        helm.arg("--set").arg(format!("operator.plainRegistries={{{PLAIN_REGISTRY}}}"));
        if action == "install" {
            helm.arg("--create-namespace");
        }
        output(helm.args(values)).map(drop).with_context(|| self.report())
    }

    /// Takes our release away, and waits until nodes are clean.
    ///
    /// # Errors
    /// What helm said.
    pub fn helm_uninstall(&self) -> Result<()> {
        let mut helm = self.client("helm");
        helm.args(["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "3m"]);
        output(&mut helm).map(drop).with_context(|| self.report())
    }

    /// What there is of Penstock, and what it said last.
    fn report(&self) -> String {
        let pods = ["get", "pods", "-o", "wide", "-n", NAMESPACE];
        let mut report = self.kubectl(&pods).unwrap_or_default();
        for name in ["penstock-operator", "penstock-agent", "penstock-proxy"] {
            let label = format!("app.kubernetes.io/name={name}");
            let logs = ["logs", "-n", NAMESPACE, "--prefix", "--tail=15", "-l", &label];
            report += &self.kubectl(&logs).unwrap_or_default();
        }
        report
    }

    /// Applies a manifest.
    ///
    /// # Errors
    /// What the API server says of it.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        let file = self.dir().join("apply.yaml");
        std::fs::write(&file, manifest)?;
        let arguments = ["apply", "--server-side", "--force-conflicts", "-f"];
        output(self.client("kubectl").args(arguments).arg(&file)).map(drop)
    }
}
