//! A filter that traps.

use crate::objects::{filter, from_config_map, route, rule, seen};
use anyhow::{Result, ensure};
use penstock_e2e::{Load, Shape, Site, edge, get, get_at, guest};
use std::{fs, time::Duration};

pub(crate) const ALL: &[super::Scenario] =
    &[("a filter that traps harms only the request that it traps in", traps)];

const NAMESPACE: &str = "e2e-traps";
/// Fewer than a filter may lose instances before it is quarantined.
const TRAPS: usize = 6;

fn traps(site: &Site) -> Result<()> {
    site.namespace(NAMESPACE, &["echo"])?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("module.wasm");
    fs::write(&file, guest("headers")?)?;
    site.module_file(NAMESPACE, "headers", &file)?;
    let spec = from_config_map("headers", "config: obey");
    site.apply(&edge(NAMESPACE))?;
    for name in ["odd", "good"] {
        site.apply(&filter(NAMESPACE, name, &spec))?;
        let rules = [rule("/", &[name], "echo")];
        site.apply(&route(NAMESPACE, name, "edge", &format!("{name}.example"), &rules))?;
    }
    let address = site.gateway(NAMESPACE, "edge", 80)?;
    for name in ["odd", "good"] {
        site.route(NAMESPACE, name)?;
        site.eventually("the filter works", || {
            let seen = seen(&get(address, &format!("{name}.example"), "/")?)?;
            ensure!(seen["headers"]["X-Count"].is_array(), "{seen}");
            Ok(())
        })?;
    }
    let shape = Shape { http1: 12, http2: 1, streams: 8, pause: Duration::from_millis(5) };
    let load = Load::start(address, "good.example", "/", shape)?;
    for _ in 0..TRAPS {
        let trapped = get_at(address, "odd.example", "/", "x-do: trap\r\n")?;
        ensure!(trapped.status == 503, "{trapped:?}");
        let next = seen(&get(address, "odd.example", "/")?)?;
        ensure!(next["headers"]["X-Count"].is_array(), "the filter works on: {next}");
    }
    // It goes on until it is quarantined; that, too, is its own affair.
    for _ in 0..TRAPS * 4 {
        let trapped = get_at(address, "odd.example", "/", "x-do: trap\r\n")?;
        ensure!(trapped.status == 503, "{trapped:?}");
    }
    let tally = load.stop()?;
    let failed = tally.failures.len();
    ensure!(failed == 0, "{failed} good requests failed, first {:?}", tally.failures.first());
    ensure!(tally.answered > TRAPS, "only {} good requests were answered", tally.answered);
    Ok(())
}
