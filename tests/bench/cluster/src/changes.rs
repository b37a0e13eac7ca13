//! Changes while requests run: none may fail.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use penstock_e2e::{Load, Shape, Site, get};
use serde_json::{Value, json};

use crate::objects::{Objects, host};

const ROUTE: &str = "changing";
/// Requests that are in flight at each change, at least.
const IN_FLIGHT: usize = 20;
/// The backend answers late, so that requests are in flight.
const PATH: &str = "/?delay=50ms";
const SHAPE: Shape = Shape { http1: 32, http2: 2, streams: 8, pause: Duration::ZERO };

/// Backends, filters and the order of rules change in turn; says how many requests were answered.
pub(crate) async fn under_load(
    site: &Site,
    objects: &Objects,
    address: SocketAddr,
    changes: usize,
) -> Result<Value> {
    objects.route(ROUTE, rules("blue", false)).await?;
    site.route(crate::objects::NAMESPACE, ROUTE)?;
    let load = Load::start(address, &host(ROUTE), PATH, SHAPE)?;
    let start = Instant::now();
    for change in 0..changes {
        let end = Instant::now() + Duration::from_secs(20);
        while load.in_flight() < IN_FLIGHT {
            ensure!(Instant::now() < end, "the load stands still at change {change}");
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        let backend = if change % 6 < 3 { "blue" } else { "green" };
        match change % 3 {
            0 => objects.route(ROUTE, rules(backend, change % 2 == 0)).await?,
            1 => objects.filter(&format!("v{change}")).await?,
            _ => objects.route(ROUTE, rules(backend, change % 2 == 1)).await?,
        }
    }
    let took = start.elapsed().as_secs_f64();
    let last = changes.saturating_sub(1) / 3 * 3 + 1;
    let stamp = format!("v{}", if last < changes { last } else { last - 3 });
    penstock_e2e::eventually("the last change serves", Duration::from_secs(20), || {
        let answer = get(address, &host(ROUTE), "/")?;
        ensure!(answer.header("x-stamp") == Some(&stamp), "{answer:?}, not {stamp}");
        Ok(())
    })?;
    let tally = load.stop()?;
    Ok(json!({
        "changes": changes,
        "seconds": took,
        "answered": tally.answered,
        "failed": tally.failures.len(),
        "failures": tally.failures.iter().take(5).collect::<Vec<_>>(),
    }))
}

/// Two rules in either order, both with the filter.
fn rules(backend: &str, turned: bool) -> Value {
    let filters = json!([{
        "type": "ExtensionRef",
        "extensionRef": { "group": "penstock.dev", "kind": "WasmFilter", "name": "stamp" },
    }]);
    let mut rules = vec![
        json!({
            "matches": [{ "path": { "type": "PathPrefix", "value": "/" } }],
            "filters": filters,
            "backendRefs": [{ "name": backend, "port": 80 }],
        }),
        json!({
            "matches": [{ "path": { "type": "PathPrefix", "value": "/other" } }],
            "filters": filters,
            "backendRefs": [{ "name": "green", "port": 80 }],
        }),
    ];
    if turned {
        rules.reverse();
    }
    Value::Array(rules)
}
