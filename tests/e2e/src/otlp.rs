//! The independent OTLP receiver (`tests/otlp-receiver/receiver.py`).

use anyhow::{Context as _, Result, ensure};
use parking_lot::Mutex;
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader},
    net::IpAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use crate::repository;

/// A receiver at work.
#[derive(Debug)]
pub struct Receiver {
    process: Child,
    /// Its port for OTLP by gRPC.
    pub grpc: u16,
    spans: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    /// Starts one on an address.
    ///
    /// # Errors
    /// What it needs cannot be installed, or it does not start.
    pub fn start(address: IpAddr) -> Result<Self> {
        let setup = Command::new(repository().join("xtask/setup/otlp-receiver.sh"))
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(setup.status.success(), "xtask/setup/otlp-receiver.sh failed");
        let mut process = Command::new(String::from_utf8(setup.stdout)?.trim())
            .arg(repository().join("tests/otlp-receiver/receiver.py"))
            .args(["--host", &address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(process.stdout.take().context("no output")?).lines();
        let ports: Value = serde_json::from_str(&lines.next().context("it says no port")??)?;
        let grpc = ports["grpc"].as_u64().context("it says no port")?.try_into()?;
        let spans = Arc::<Mutex<Vec<Value>>>::default();
        let shared = Arc::clone(&spans);
        // Ends with the receiver.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Ok(span) = serde_json::from_str(&line) {
                    shared.lock().push(span);
                }
            }
        });
        Ok(Self { process, grpc, spans })
    }

    /// What came so far.
    pub fn spans(&self) -> Vec<Value> {
        self.spans.lock().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
