//! What is written to the API server: requests to the status subresources, as it counts them itself.

use std::time::{Duration, Instant};

use anyhow::Result;
use penstock_e2e::Site;
use serde_json::{Value, json};

/// Requests so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Writes {
    routes: u64,
    gateways: u64,
}

impl Writes {
    pub(crate) fn since(self, before: &Self) -> Self {
        Self { routes: self.routes - before.routes, gateways: self.gateways - before.gateways }
    }

    pub(crate) fn json(self) -> Value {
        json!({ "httproutes": self.routes, "gateways": self.gateways })
    }
}

/// How many there were since the API server began.
pub(crate) fn writes(site: &Site) -> Result<Writes> {
    let page = site.kubectl(&["get", "--raw", "/metrics"])?;
    let count = |resource: &str| -> u64 {
        let lines = page.lines().filter(|line| {
            line.starts_with("apiserver_request_total{")
                && line.contains(&format!("resource=\"{resource}\""))
                && line.contains("subresource=\"status\"")
                && !line.contains("verb=\"GET\"")
        });
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    };
    Ok(Writes { routes: count("httproutes"), gateways: count("gateways") })
}

/// How many there were when two seconds have passed without any.
pub(crate) fn settled(site: &Site) -> Result<Writes> {
    let mut last = (writes(site)?, Instant::now());
    while last.1.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(200));
        let now = writes(site)?;
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    Ok(last.0)
}

/// What is written while nothing changes.
pub(crate) fn quiet(site: &Site, for_: Duration) -> Result<Writes> {
    let before = settled(site)?;
    std::thread::sleep(for_);
    Ok(writes(site)?.since(&before))
}
