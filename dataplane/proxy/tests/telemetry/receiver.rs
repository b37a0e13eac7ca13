//! The independent OTLP receiver (`tests/otlp-receiver/receiver.py`) and processes that send to it.

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Lines},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A running receiver.
pub(crate) struct Receiver {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) grpc: u64,
    pub(crate) http: u64,
}

impl Receiver {
    /// Starts one that refuses its first messages.
    pub(crate) fn start(refuse: usize) -> Self {
        let setup = Command::new(root().join("xtask/setup/otlp-receiver.sh"))
            .stderr(Stdio::inherit())
            .output()
            .expect("the setup of the receiver runs");
        assert!(setup.status.success(), "xtask/setup/otlp-receiver.sh failed");
        let python = String::from_utf8(setup.stdout).expect("a path");
        let mut process = Command::new(python.trim())
            .arg(root().join("tests/otlp-receiver/receiver.py"))
            .args(["--refuse", &refuse.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the receiver starts");
        let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let ports: Value = serde_json::from_str(&lines.next().expect("a line").expect("a line"))
            .expect("its ports");
        let port = |name: &str| ports[name].as_u64().expect("a port");
        Self { grpc: port("grpc"), http: port("http"), process, lines }
    }

    /// Ends it and gives the spans that it got, the earliest first.
    pub(crate) fn spans(mut self) -> Vec<Value> {
        drop(self.process.stdin.take());
        let mut spans: Vec<Value> = self
            .lines
            .by_ref()
            .map(|line| serde_json::from_str(&line.expect("a line")).expect("a span"))
            .collect();
        spans.sort_by_key(|span| span["start"].as_u64());
        spans
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // It ends by itself; this only makes sure of it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a proxy in a process of its own reported.
pub(crate) struct Report {
    /// Fields that the upstream got, by request.
    pub(crate) seen: Vec<Value>,
    /// The metrics page before the end.
    pub(crate) page: String,
    /// The process's log.
    pub(crate) log: String,
}

/// Runs [`super::child::proxy_in_a_process_of_its_own`] with these variables and no other `OTEL_*`.
/// Each request is a list of fields.
pub(crate) fn run(variables: &[(&str, String)], requests: &[&[(&str, &str)]]) -> Report {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OTEL_")) {
        command.env_remove(name);
    }
    let output = command
        .args(["--exact", "child::proxy_in_a_process_of_its_own", "--ignored", "--nocapture"])
        .env("RUST_LOG", "info")
        .env(super::child::REQUESTS, serde_json::to_string(requests).expect("JSON"))
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .output()
        .expect("the proxy runs");
    let (stdout, log) = (
        String::from_utf8(output.stdout).expect("text"),
        String::from_utf8(output.stderr).expect("text"),
    );
    assert!(output.status.success(), "{stdout}\n{log}");
    let report = stdout
        .lines()
        .find_map(|line| line.split_once(super::child::REPORT))
        .unwrap_or_else(|| panic!("no report in {stdout}"))
        .1;
    let report: Value = serde_json::from_str(report).expect("a report");
    Report {
        seen: report["seen"].as_array().expect("a list").clone(),
        page: report["page"].as_str().expect("a page").to_owned(),
        log,
    }
}
