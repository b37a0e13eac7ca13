//! Changes lose no request: routes, backends and filter versions change a thousand times under
//! steady HTTP/1.1 and HTTP/2 load, and not one request fails.

use anyhow::{Context as _, Result, ensure};
use penstock_e2e::{Backend, Gateway, Load, Shape, edge_on, filters_folder, free_address, get};
use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

/// How many changes; `PENSTOCK_E2E_CHANGES` sets another number.
const CHANGES: usize = 1000;
/// So slow that a request waits at the backend when a change comes.
const BACKEND_DELAY: Duration = Duration::from_millis(15);

/// What the gateway is told at one moment.
#[derive(Clone, Copy)]
struct Site<'a> {
    port: u16,
    /// Value of the response field that the route's native filter sets.
    route: usize,
    /// Value of the response field that the WASM filter sets.
    filter: usize,
    /// Which of the two modules (equal but for their digest) the filter uses.
    module: &'a Path,
    backend: &'a Backend,
}

impl Site<'_> {
    fn manifest(&self) -> String {
        let Site { port, route, filter, module, backend } = self;
        let edge = edge_on(*port);
        format!(
            "{edge}apiVersion: penstock.dev/v1alpha1
kind: WasmFilter
metadata: {{ name: stamp }}
spec:
  module: {{ file: {{ path: {module} }} }}
  config:
    response:
    - set: {{ x-filter: \"{filter}\" }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: app }}
spec:
  parentRefs: [{{ name: edge }}]
  rules:
  - filters:
    - type: ResponseHeaderModifier
      responseHeaderModifier: {{ set: [{{ name: x-route, value: \"{route}\" }}] }}
    - type: ExtensionRef
      extensionRef: {{ group: penstock.dev, kind: WasmFilter, name: stamp }}
    backendRefs: [{{ name: app, port: 80 }}]
---
apiVersion: v1
kind: Service
metadata: {{ name: app, namespace: default }}
spec: {{ ports: [{{ name: http, port: 80 }}] }}
---
{slice}",
            module = module.display(),
            slice = backend.endpoint_slice("default", "app"),
        )
    }

    /// Whether an answer shows this site.
    fn shows(&self, address: SocketAddr, backend: &str) -> Result<bool> {
        let answer = get(address, "app.example", "/")?;
        Ok(answer.status == 200
            && answer.header("x-route") == Some(&self.route.to_string())
            && answer.header("x-filter") == Some(&self.filter.to_string())
            && answer.body.contains(backend))
    }
}

/// The same component with one more custom section: another digest, equal behaviour.
fn other_digest(component: &[u8]) -> Vec<u8> {
    let name = b"penstock-e2e";
    let mut bytes = component.to_vec();
    bytes.extend_from_slice(&[0, name.len() as u8 + 1, name.len() as u8]);
    bytes.extend_from_slice(name);
    bytes
}

#[test]
fn a_thousand_changes_under_load_lose_no_request() -> Result<()> {
    let changes = std::env::var("PENSTOCK_E2E_CHANGES").ok().map_or(Ok(CHANGES), |n| n.parse())?;
    let modules = tempfile::tempdir()?;
    let first = filters_folder()?.join("header-rules.wasm");
    let second = modules.path().join("second.wasm");
    std::fs::write(&second, other_digest(&std::fs::read(&first)?))?;
    let backends =
        [Backend::start("blue", BACKEND_DELAY)?, Backend::start("green", BACKEND_DELAY)?];

    let address = free_address();
    let port = address.port();
    let mut site = Site { port, route: 0, filter: 0, module: &first, backend: &backends[0] };
    let gateway = Gateway::start(&[("site.yaml", &site.manifest())], &["--workers", "2"])?;
    let shape = Shape { http1: 14, http2: 2, streams: 8, pause: Duration::ZERO };
    let load = Load::start(address, "app.example", "/", shape)?;

    let mut fewest = usize::MAX;
    for change in 1..=changes {
        match change % 4 {
            0 => site.route = change,
            1 => site.backend = &backends[(change / 4 + 1) % 2],
            2 => site.filter = change,
            _ => {
                site.module = if site.module == first { &second } else { &first };
                site.filter = change;
            }
        }
        gateway.write("site.yaml", &site.manifest())?;
        fewest = fewest.min(load.most_in_flight());
        gateway.reload()?;
        let name = if site.backend.address == backends[0].address { "blue" } else { "green" };
        let end = Instant::now() + Duration::from_secs(10);
        while !site.shows(address, name)? {
            ensure!(Instant::now() < end, "change {change} does not arrive: {}", gateway.stderr());
        }
    }
    let tally = load.stop()?;
    ensure!(
        tally.failures.is_empty(),
        "{} failed, first: {:?}",
        tally.failures.len(),
        tally.failures.first()
    );
    ensure!(tally.cut == 0, "{} connections were cut between two requests", tally.cut);
    ensure!(tally.answered > changes, "only {} requests were answered", tally.answered);
    ensure!(fewest >= 20, "a change met only {fewest} requests in flight");
    println!(
        "{changes} changes, {} requests, at least {fewest} in flight at each change",
        tally.answered
    );
    ensure!(gateway.terminate(Duration::from_secs(20)).context("drain")?, "drain ends with code 0");
    Ok(())
}

#[test]
fn an_end_by_sigterm_loses_no_request_in_flight() -> Result<()> {
    let backend = Backend::start("blue", Duration::from_millis(300))?;
    let module = filters_folder()?.join("header-rules.wasm");
    let address = free_address();
    let port = address.port();
    let site = Site { port, route: 1, filter: 1, module: &module, backend: &backend };
    let gateway = Gateway::start(&[("site.yaml", &site.manifest())], &["--workers", "2"])?;
    let clients: Vec<_> =
        (0..20).map(|_| std::thread::spawn(move || get(address, "app.example", "/"))).collect();
    std::thread::sleep(Duration::from_millis(150));
    ensure!(gateway.terminate(Duration::from_secs(20))?, "ends with code 0");
    for client in clients {
        let answer = client.join().map_err(|_| anyhow::anyhow!("client panicked"))??;
        ensure!(answer.status == 200 && answer.body.contains("blue"), "{answer:?}");
    }
    ensure!(get(address, "app.example", "/").is_err(), "nobody listens afterwards");
    Ok(())
}
