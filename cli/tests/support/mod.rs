//! A `penstock` process, a folder for it and plain HTTP clients and servers.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod cluster;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

/// Longer than anything takes on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The command under test.
pub(crate) fn penstock() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
    command.env("RUST_LOG", "warn").current_dir(root());
    command
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("cli has a parent").to_owned()
}

/// A running `penstock`, killed at the end.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    /// Everything it has said.
    pub(crate) said: Vec<String>,
}

impl Process {
    /// Starts the command with arguments; both outputs are read.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = penstock()
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("penstock starts");
        let (send, lines) = channel();
        let out = child.stdout.take().expect("piped");
        let err = child.stderr.take().expect("piped");
        let copy = send.clone();
        thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).for_each(|l| drop(send.send(l)));
        });
        thread::spawn(move || {
            BufReader::new(err).lines().map_while(Result::ok).for_each(|l| drop(copy.send(l)));
        });
        Self { child, lines, said: Vec::new() }
    }

    /// Waits for a line that contains a text.
    pub(crate) fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) =
            self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.said.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
        panic!("no line with {text:?}; it said:\n{}", self.said.join("\n"));
    }

    /// Waits for a line for each text, in whatever order: the two outputs are read side by side.
    pub(crate) fn expect_all(&mut self, texts: &[&str]) {
        let mut missing = texts.to_vec();
        while let Some(text) = missing.pop() {
            if !self.said.iter().any(|line| line.contains(text)) {
                self.expect(text);
            }
        }
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A backend that answers every request with a text, after a pause.
pub(crate) fn backend(text: &'static str, pause: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(stream, text, pause));
        }
    });
    port
}

fn answer(mut stream: TcpStream, text: &str, pause: Duration) {
    let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
    loop {
        let mut line = String::new();
        loop {
            line.clear();
            match reader.read_line(&mut line) {
                Ok(n) if n > 0 && line != "\r\n" => {}
                Ok(n) if n > 0 => break,
                _ => return,
            }
        }
        thread::sleep(pause);
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Status and body of a GET; `None` where nobody answers.
pub(crate) fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n")?.1.to_owned();
    Some((status, body))
}

/// Asks until the answer is as expected.
pub(crate) fn get_until(address: SocketAddr, path: &str, expected: (u16, &str)) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = get(address, path);
        if answer.as_ref().is_some_and(|(s, b)| (*s, b.as_str()) == expected) {
            return;
        }
        assert!(Instant::now() < deadline, "{path} is answered {answer:?}, not {expected:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Writes a file whole: a reader sees the old or the new one.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, content).expect("a file");
    fs::rename(&temporary, path).expect("renamed");
}

/// A Gateway on a port, a Service `app` that leads to a port of this machine, and a route.
pub(crate) fn site(port: u16, backend: u16) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: penstock}}
spec: {{controllerName: penstock.dev/gateway-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: web}}
spec:
  gatewayClassName: penstock
  listeners: [{{name: http, protocol: HTTP, port: {port}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: app}}
spec: {{type: ExternalName, externalName: localhost, ports: [{{port: {backend}}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: app}}
spec:
  parentRefs: [{{name: web}}]
  rules: [{{backendRefs: [{{name: app, port: {backend}}}]}}]
"
    )
}
