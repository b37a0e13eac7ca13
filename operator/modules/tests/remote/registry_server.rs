//! Debian's `docker-registry`, which is the distribution registry.

use penstock_filter_host::digest;
use penstock_test_ports::free_port;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// User `a` with the password `s3cret`.
const USERS: &str = "a:$2b$04$I.AKUuXZUyBUUKF1izcCoOEPVGnDUFdHn8Rq9neVRVBxAPYk10AI2\n";

/// A registry of its own.
pub(crate) struct RegistryServer {
    /// `localhost` and the port.
    pub(crate) host: String,
    /// Its storage.
    pub(crate) folder: PathBuf,
    port: u16,
    config: PathBuf,
    process: Child,
}

impl RegistryServer {
    /// One without TLS, for everybody.
    pub(crate) fn plain(folder: &Path) -> Self {
        Self::start(folder, "plain", "")
    }

    /// One with this certificate and key, for users with a password.
    pub(crate) fn private(folder: &Path, certificate: &str, key: &str) -> Self {
        for (name, content) in [("users", USERS), ("tls.crt", certificate), ("tls.key", key)] {
            fs::write(folder.join(name), content).expect("a file");
        }
        let at = folder.display();
        let more = format!(
            "  tls: {{certificate: {at}/tls.crt, key: {at}/tls.key}}\n\
             auth: {{htpasswd: {{realm: r, path: {at}/users}}}}\n"
        );
        Self::start(folder, "private", &more)
    }

    fn start(folder: &Path, name: &str, more: &str) -> Self {
        let port = free_port();
        let config = folder.join(format!("{name}.yaml"));
        let content = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http:\n  addr: 127.0.0.1:{port}\n{more}",
            folder.display()
        );
        fs::write(&config, content).expect("a file");
        let process = run(&config, port);
        let host = format!("localhost:{port}");
        Self { host, folder: folder.to_owned(), port, config, process }
    }

    /// Ends it.
    pub(crate) fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) {
        self.process = run(&self.config, self.port);
    }

    /// Lets it neither go on nor end, or go on again.
    pub(crate) fn freeze(&self, frozen: bool) {
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        kill_process(Pid::from_child(&self.process), signal).expect("it runs");
    }

    /// Pushes a component as an artifact. Returns the digest of the manifest.
    pub(crate) fn push(&self, repository: &str, tag: &str, component: &[u8]) -> String {
        self.blob(repository, b"{}");
        let layer = self.blob(repository, component);
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
        let answer = self.send("PUT", &path, media, manifest.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        digest(manifest.as_bytes())
    }

    /// Where it keeps the content of a digest.
    pub(crate) fn file_of(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let folder = "docker/registry/v2/blobs/sha256";
        self.folder.join(folder).join(&hex[..2]).join(hex).join("data")
    }

    fn blob(&self, repository: &str, content: &[u8]) -> String {
        let begin = self.send("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"");
        let location = begin
            .lines()
            .find_map(|line| line.strip_prefix("Location: "))
            .unwrap_or_else(|| panic!("{begin}"));
        let path = &location[location.find("/v2/").expect("a path")..];
        let name = digest(content);
        let media = "content-type: application/octet-stream\r\n";
        let answer = self.send("PUT", &format!("{path}&digest={name}"), media, content);
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        name
    }

    fn send(&self, method: &str, path: &str, fields: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n\
             {fields}\r\n",
            self.host,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(config: &Path, port: u16) -> Child {
    let mut process = Command::new("docker-registry")
        .arg("serve")
        .arg(config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("xtask/setup/debian.sh docker-registry:docker-registry installs it");
    for _ in 0..500 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return process;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let _ = process.kill().and_then(|()| process.wait());
    panic!("docker-registry does not listen with {}", config.display());
}
