//! `penstock run` as a process.

use crate::get;
use anyhow::{Context as _, Result, bail};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

/// A running gateway over a folder of its own. Ended by its process id when dropped.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    folder: tempfile::TempDir,
    /// Not in the folder, which is watched.
    stdout: tempfile::NamedTempFile,
    admin: SocketAddr,
}

impl Gateway {
    /// Starts a gateway over `files` (name and content) and waits until it is ready.
    ///
    /// # Errors
    /// When the process cannot be started or is not ready within 30 seconds.
    pub fn start(files: &[(&str, &str)], arguments: &[&str]) -> Result<Self> {
        Self::start_with(files, arguments, &[])
    }

    /// The same with variables of the environment.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub fn start_with(
        files: &[(&str, &str)],
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content)?;
        }
        let admin = free_address();
        let stdout = tempfile::NamedTempFile::new()?;
        let child = Command::new(penstock()?)
            .args(["run", "--admin", &admin.to_string(), "-f"])
            .arg(folder.path())
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(stdout.reopen()?)
            .stderr(std::fs::File::create(folder.path().join("stderr.log"))?)
            .spawn()?;
        let mut gateway = Self { child, folder, stdout, admin };
        gateway.wait_until_ready()?;
        Ok(gateway)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(30);
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                bail!("penstock ended with {status}: {}", self.stderr());
            }
            if get(self.admin, "admin", "/readyz").is_ok_and(|a| a.status == 200) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("penstock is not ready: {}", self.stderr())
    }

    /// Replaces a file whole, as an editor does: never half of it can be read.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, name: &str, content: &str) -> Result<()> {
        let staged = self.folder.path().join(format!(".{name}.new"));
        std::fs::write(&staged, content)?;
        Ok(std::fs::rename(staged, self.folder.path().join(name))?)
    }

    /// Asks for a reload at once (SIGHUP).
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn reload(&self) -> Result<()> {
        signal(self.child.id(), "HUP")
    }

    /// Sends SIGTERM and waits for the end; true when the process left with code 0.
    ///
    /// # Errors
    /// When it does not end within `limit`.
    pub fn terminate(mut self, limit: Duration) -> Result<bool> {
        signal(self.child.id(), "TERM")?;
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.success());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("penstock does not end: {}", self.stderr())
    }

    /// The metrics page.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn metrics(&self) -> Result<String> {
        Ok(get(self.admin, "admin", "/metrics")?.body)
    }

    /// What the process told people: the statuses of objects, line by line.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn stdout(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.stdout.path())?)
    }

    /// What the process wrote to standard error.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr.log")).unwrap_or_default()
    }

    /// The folder that is served.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Resident memory in KiB.
    ///
    /// # Errors
    /// When `/proc` does not say it.
    pub fn resident_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).context("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("no value")?.parse()?)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal by name to a process that this test started.
fn signal(pid: u32, name: &str) -> Result<()> {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status()?;
    if !status.success() {
        bail!("cannot signal process {pid}");
    }
    Ok(())
}

/// A GatewayClass and a Gateway `edge` with one HTTP listener, for files that other objects follow in.
pub fn edge_on(port: u16) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{ name: penstock }}
spec: {{ controllerName: penstock.dev/gateway-controller }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: edge }}
spec:
  gatewayClassName: penstock
  listeners: [{{ name: http, port: {port}, protocol: HTTP }}]
---
"
    )
}

/// An address on loopback that nobody listens on right now.
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], penstock_test_ports::free_port()))
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The `penstock` binary: the one that `PENSTOCK_BIN` names (`make test` does, since the workspace
/// build has made it), else built once for each test process.
///
/// # Errors
/// When it cannot be built.
pub fn penstock() -> Result<PathBuf> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    if let Some(path) = std::env::var_os("PENSTOCK_BIN") {
        return Ok(path.into());
    }
    BINARY
        .get_or_init(|| build_penstock().map_err(|e| format!("{e:#}")))
        .clone()
        .map_err(anyhow::Error::msg)
}

fn build_penstock() -> Result<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["build", "-q", "--bin", "penstock", "--message-format", "json"])
        .current_dir(repository())
        .output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .find(|path| path.ends_with("penstock"))
        .context("cargo names no penstock binary")
}

/// A component of `tests/guests`, by its name without the prefix `guest-`, built once for each test
/// process.
///
/// # Errors
/// When the guests cannot be built, or there is none of that name.
pub fn guest(name: &str) -> Result<Vec<u8>> {
    static BUILT: OnceLock<Result<Vec<xtask_components::Component>, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let target = xtask_components::target_dir().join("guests");
        xtask_components::build(&repository().join("tests/guests"), &target)
            .map_err(|e| format!("{e:#}"))
    });
    let guests = built.as_ref().map_err(|e| anyhow::Error::msg(e.clone()))?;
    let found = guests.iter().find(|guest| guest.name == format!("guest-{name}"));
    Ok(found.with_context(|| format!("no guest {name}"))?.bytes.clone())
}

/// The folder of the built filters, made by `cargo xtask filters` once for each test process.
///
/// # Errors
/// When they cannot be built.
pub fn filters_folder() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let status = Command::new(env!("CARGO"))
                .args(["xtask", "filters"])
                .current_dir(repository())
                .stdout(Stdio::null())
                .status();
            match status {
                Ok(status) if status.success() => Ok(()),
                other => Err(format!("cargo xtask filters: {other:?}")),
            }
        })
        .clone()
        .map_err(anyhow::Error::msg)?;
    Ok(repository().join("filters/dist").canonicalize()?)
}
