//! Debian's `docker-registry`, which is the distribution registry, as a process of a test.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// Who may read from a registry that asks.
pub const USER: &str = "a";
/// The password of [`USER`].
pub const PASSWORD: &str = "s3cret";
/// Both, as the registry reads them.
const USERS: &str = "a:$2b$04$I.AKUuXZUyBUUKF1izcCoOEPVGnDUFdHn8Rq9neVRVBxAPYk10AI2\n";

/// A registry of its own.
#[derive(Debug)]
pub struct RegistryServer {
    /// How clients name it: host and port.
    pub host: String,
    /// Its storage.
    folder: PathBuf,
    listen: SocketAddr,
    config: PathBuf,
    process: Child,
}

impl RegistryServer {
    /// One without TLS, for everybody, that listens where `listen` says and has its storage in
    /// `folder`. Clients call its host `name`.
    ///
    /// # Errors
    /// It is not installed, or somebody else listens there.
    pub fn plain(folder: &Path, listen: SocketAddr, name: &str) -> Result<Self> {
        Self::start(folder, listen, name, "plain", "")
    }

    /// The same with this certificate and key, for [`USER`] alone.
    ///
    /// # Errors
    /// As [`RegistryServer::plain`].
    pub fn private(
        folder: &Path,
        listen: SocketAddr,
        name: &str,
        certificate: &str,
        key: &str,
    ) -> Result<Self> {
        for (file, content) in [("users", USERS), ("tls.crt", certificate), ("tls.key", key)] {
            fs::write(folder.join(file), content)?;
        }
        let at = folder.display();
        let more = format!(
            "  tls: {{certificate: {at}/tls.crt, key: {at}/tls.key}}\n\
             auth: {{htpasswd: {{realm: r, path: {at}/users}}}}\n"
        );
        Self::start(folder, listen, name, "private", &more)
    }

    fn start(
        folder: &Path,
        listen: SocketAddr,
        name: &str,
        kind: &str,
        more: &str,
    ) -> Result<Self> {
        let config = folder.join(format!("{kind}.yaml"));
        let content = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http:\n  addr: {listen}\n{more}",
            folder.display()
        );
        fs::write(&config, content)?;
        let process = run(&config, listen)?;
        let host = format!("{name}:{}", listen.port());
        Ok(Self { host, folder: folder.to_owned(), listen, config, process })
    }

    /// Ends it.
    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again where it was.
    ///
    /// # Errors
    /// As [`RegistryServer::plain`].
    pub fn start_again(&mut self) -> Result<()> {
        self.process = run(&self.config, self.listen)?;
        Ok(())
    }

    /// Lets it neither go on nor end, or go on again.
    ///
    /// # Errors
    /// It has ended.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        Ok(kill_process(Pid::from_child(&self.process), signal)?)
    }

    /// Pushes a component as an artifact. Returns the digest of the manifest.
    ///
    /// # Errors
    /// The registry does not take it.
    pub fn push(&self, repository: &str, tag: &str, component: &[u8]) -> Result<String> {
        self.blob(repository, b"{}")?;
        let layer = self.blob(repository, component)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": digest(b"{}"),
                       "size": 2},
            "layers": [{"mediaType": "application/wasm", "digest": layer, "size": component.len()}],
        });
        let manifest = manifest.to_string();
        let path = format!("/v2/{repository}/manifests/{tag}");
        let media = "content-type: application/vnd.oci.image.manifest.v1+json\r\n";
        let answer = self.send("PUT", &path, media, manifest.as_bytes())?;
        ensure!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        Ok(digest(manifest.as_bytes()))
    }

    /// Where it keeps the content of a digest.
    pub fn file_of(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let folder = "docker/registry/v2/blobs/sha256";
        self.folder.join(folder).join(&hex[..2]).join(hex).join("data")
    }

    fn blob(&self, repository: &str, content: &[u8]) -> Result<String> {
        let begin = self.send("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"")?;
        let location = begin.lines().find_map(|line| line.strip_prefix("Location: "));
        let path = location.and_then(|location| Some(&location[location.find("/v2/")?..]));
        let path = path.with_context(|| format!("no place for a blob: {begin}"))?;
        let name = digest(content);
        let media = "content-type: application/octet-stream\r\n";
        let answer = self.send("PUT", &format!("{path}&digest={name}"), media, content)?;
        ensure!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        Ok(name)
    }

    fn send(&self, method: &str, path: &str, fields: &str, body: &[u8]) -> Result<String> {
        let mut stream = TcpStream::connect(self.listen)?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n\
             {fields}\r\n",
            self.host,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The digest of content, as registries name it.
pub fn digest(content: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(content) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn run(config: &Path, listen: SocketAddr) -> Result<Child> {
    // Whoever listens there already would be taken for the one that starts.
    drop(TcpListener::bind(listen).with_context(|| format!("{listen} is taken"))?);
    let mut process = Command::new("docker-registry")
        .arg("serve")
        .arg(config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("xtask/setup/debian.sh docker-registry:docker-registry installs it")?;
    for _ in 0..500 {
        if TcpStream::connect(listen).is_ok() {
            return Ok(process);
        }
        thread::sleep(Duration::from_millis(20));
    }
    let _ = process.kill().and_then(|()| process.wait());
    bail!("docker-registry does not listen with {}", config.display())
}
