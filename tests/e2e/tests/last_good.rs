//! While a filter's module or configuration is refused, its last good generation serves on, and no
//! request fails. The gateway is a process, its files are those of a user at work.

use anyhow::{Context as _, Result, ensure};
use penstock_e2e::{Backend, Gateway, Load, Shape, edge_on, filters_folder, free_address, get};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// Everything but the filter.
fn site(port: u16, backend: &Backend) -> String {
    format!(
        "{}apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: app }}
spec:
  parentRefs: [{{ name: edge }}]
  rules:
  - filters:
    - type: ExtensionRef
      extensionRef: {{ group: penstock.dev, kind: WasmFilter, name: stamp }}
    backendRefs: [{{ name: app, port: 80 }}]
---
apiVersion: v1
kind: Service
metadata: {{ name: app, namespace: default }}
spec: {{ ports: [{{ name: http, port: 80 }}] }}
---
{}",
        edge_on(port),
        backend.endpoint_slice("default", "app")
    )
}

/// The filter: it stamps answers with `x-filter`, if it takes the operation.
fn filter(operation: &str, stamp: &str, grants: &str) -> String {
    format!(
        "apiVersion: penstock.dev/v1alpha1
kind: WasmFilter
metadata: {{ name: stamp }}
spec:
  module: {{ file: {{ path: stamp.wasm }} }}
  grants: [{grants}]
  config: {{ response: [{{ {operation}: {{ x-filter: \"{stamp}\" }} }}] }}
"
    )
}

struct Site {
    gateway: Gateway,
    address: SocketAddr,
    /// How much of the gateway's words was looked at.
    told: usize,
}

impl Site {
    /// The module as the user's editor or copy leaves it: written in place.
    fn module(&self, bytes: &[u8]) -> Result<()> {
        Ok(std::fs::write(self.gateway.folder().join("stamp.wasm"), bytes)?)
    }

    /// Waits until the gateway has told all of this anew, in one status.
    fn told(&mut self, words: &[&str]) -> Result<()> {
        self.gateway.reload()?;
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let all = self.gateway.stdout()?;
            let fresh = all.get(self.told..).unwrap_or_default();
            let status = fresh.lines().find(|line| words.iter().all(|word| line.contains(word)));
            if let Some(status) = status {
                let at = fresh.find(status).unwrap_or_default();
                self.told += at + status.len();
                return Ok(());
            }
            ensure!(Instant::now() < end, "never told {words:?}: {fresh}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What answers are stamped with.
    fn stamp(&self) -> Result<String> {
        let answer = get(self.address, "app.example", "/")?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(answer.header("x-filter").context("no stamp")?.to_owned())
    }

    fn refusals(&self, reason: &str) -> Result<u64> {
        let start = format!("penstock_config_refusals_total{{reason=\"{reason}\"}} ");
        let metrics = self.gateway.metrics()?;
        let line = metrics.lines().find_map(|line| line.strip_prefix(&start));
        Ok(line.map(str::parse).transpose()?.unwrap_or(0))
    }
}

/// Lets the load go on for a while.
fn go_on(load: &Load) -> Result<()> {
    let (before, end) = (load.answered(), Instant::now() + Duration::from_secs(20));
    while load.answered() < before + 50 {
        ensure!(Instant::now() < end, "the load stands still");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[test]
fn a_refused_change_of_a_filter_costs_no_request_and_is_told() -> Result<()> {
    let whole = std::fs::read(filters_folder()?.join("header-rules.wasm"))?;
    let half = &whole[..whole.len() / 2];
    let backend = Backend::start("app", Duration::from_millis(5))?;
    let address = free_address();
    let manifest = site(address.port(), &backend);
    let first = filter("set", "one", "log");
    let gateway = Gateway::start(&[("site.yaml", &manifest)], &["--workers", "2"])?;
    let mut site = Site { gateway, address, told: 0 };
    site.module(&whole)?;
    site.gateway.write("filter.yaml", &first)?;
    site.told(&["accepted", "WasmFilter default/stamp"])?;
    ensure!(site.stamp()? == "one");
    let shape = Shape { http1: 6, http2: 1, streams: 4, pause: Duration::from_millis(1) };
    let load = Load::start(address, "app.example", "/", shape)?;

    // The module alone: half of it is there.
    site.module(half)?;
    site.told(&["Accepted (ModuleInvalid): what is there now is refused", "serves on"])?;
    ensure!(site.stamp()? == "one", "half a module");
    go_on(&load)?;
    ensure!(site.refusals("ModuleInvalid")? == 1, "{}", site.gateway.metrics()?);
    // The object as well, while the module is still broken.
    site.gateway.write("filter.yaml", &filter("set", "two", "log"))?;
    site.told(&["generation 2 is refused", "generation 1 (module sha256:", "serves on"])?;
    ensure!(site.stamp()? == "one", "half a module and another configuration");
    go_on(&load)?;
    std::fs::remove_file(site.gateway.folder().join("stamp.wasm"))?;
    site.told(&["ResolvedRefs (ModuleNotFound): generation 2 is refused", "serves on"])?;
    ensure!(site.stamp()? == "one", "no module");
    go_on(&load)?;
    // Mended.
    site.module(&whole)?;
    site.told(&["accepted", "WasmFilter default/stamp"])?;
    ensure!(site.stamp()? == "two", "the new generation serves");
    go_on(&load)?;
    // A configuration that the module refuses.
    site.gateway.write("filter.yaml", &filter("sett", "three", "log"))?;
    site.told(&["Accepted (InvalidConfig): generation 3 is refused", "generation 2 (module"])?;
    ensure!(site.stamp()? == "two", "a configuration that is refused");
    go_on(&load)?;
    ensure!(site.refusals("InvalidConfig")? == 1, "{}", site.gateway.metrics()?);

    let tally = load.stop()?;
    ensure!(tally.failures.is_empty(), "{} failed: {:?}", tally.failures.len(), tally.failures[0]);
    ensure!(tally.cut == 0, "{} connections were cut between two requests", tally.cut);
    ensure!(tally.answered > 20, "only {} requests were answered", tally.answered);

    // A grant is withdrawn: what has it does not serve on.
    site.gateway.write("filter.yaml", &filter("sett", "four", ""))?;
    site.told(&["generation 2 (module", "does not serve on", "no longer lists log"])?;
    ensure!(get(address, "app.example", "/")?.status == 500, "a withdrawn grant");
    // Granted again it would serve; deleted and made anew it is another filter.
    site.gateway.write("filter.yaml", &filter("sett", "five", "log"))?;
    site.told(&["generation 5 is refused", "generation 2 (module", "serves on"])?;
    ensure!(site.stamp()? == "two", "granted again");
    site.gateway.write("filter.yaml", "")?;
    site.told(&["removed", "WasmFilter default/stamp"])?;
    ensure!(get(address, "app.example", "/")?.status == 500, "the filter was deleted");
    site.gateway.write("filter.yaml", &filter("sett", "six", "log"))?;
    site.told(&["Accepted (InvalidConfig): "])?;
    ensure!(get(address, "app.example", "/")?.status == 500, "no good generation of this one");
    Ok(())
}
