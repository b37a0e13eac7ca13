//! A filter is changed while requests run.

use crate::objects::{edition, filter, from_config_map, programmed, route, rule, seen};
use anyhow::{Result, ensure};
use penstock_e2e::{Load, Shape, Site, edge, filters_folder, get, guest};
use penstock_test_registry::digest;
use std::{fs, time::Duration};

pub(crate) const ALL: &[super::Scenario] =
    &[("a filter is swapped by its config and its module while requests run", swapped)];

const NAMESPACE: &str = "e2e-versions";
const HOST: &str = "echo.example";

/// A version of the filter: its ConfigMap, its module, its configuration, and the field that tells it.
struct Version {
    map: &'static str,
    module: Vec<u8>,
    config: String,
    field: (&'static str, Option<String>),
}

fn swapped(site: &Site) -> Result<()> {
    site.namespace(NAMESPACE, &["echo"])?;
    let rules = fs::read(filters_folder()?.join("header-rules.wasm"))?;
    let stamp = |map, module: &[u8], number: u8| Version {
        map,
        module: module.to_vec(),
        config: format!("{{ request: [{{ set: {{ x-stamp: v{number} }} }}] }}"),
        field: ("X-Stamp", Some(format!("v{number}"))),
    };
    let versions = [
        stamp("first", &rules, 1),
        // The configuration alone.
        stamp("first", &rules, 2),
        // Another ConfigMap.
        stamp("second", &edition(&rules, 3), 3),
        // The same ConfigMap with something else in it.
        stamp("second", &edition(&rules, 4), 4),
        // Another policy.
        Version {
            map: "third",
            module: guest("headers")?,
            config: "obey".into(),
            field: ("X-Count", None),
        },
        // And back.
        stamp("first", &rules, 6),
    ];
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("module.wasm");
    let change = |version: &Version| -> Result<()> {
        fs::write(&file, &version.module)?;
        site.module_file(NAMESPACE, version.map, &file)?;
        let spec = from_config_map(version.map, &format!("config: {}", version.config));
        site.apply(&filter(NAMESPACE, "stamp", &spec))
    };
    change(&versions[0])?;
    site.apply(&edge(NAMESPACE))?;
    site.apply(&route(NAMESPACE, "echo", "edge", HOST, &[rule("/", &["stamp"], "echo")]))?;
    let address = site.gateway(NAMESPACE, "edge", 80)?;
    site.route(NAMESPACE, "echo")?;
    site.eventually("the first version answers", || seen(&get(address, HOST, "/")?))?;

    let shape = Shape { http1: 14, http2: 2, streams: 8, pause: Duration::ZERO };
    let load = Load::start(address, HOST, "/", shape)?;
    let mut fewest = usize::MAX;
    for version in &versions[1..] {
        fewest = fewest.min(load.most_in_flight());
        change(version)?;
        let (field, value) = &version.field;
        site.eventually(&format!("{field} {value:?}"), || {
            let seen = seen(&get(address, HOST, "/")?)?;
            let found = &seen["headers"][*field][0];
            ensure!(found.is_string() && value.iter().all(|value| found == value), "{seen}");
            Ok(())
        })?;
        programmed(site, NAMESPACE, "stamp", &digest(&version.module))?;
    }
    let tally = load.stop()?;
    let failed = tally.failures.len();
    ensure!(failed == 0, "{failed} requests failed, for example {:?}", tally.failures.first());
    ensure!(fewest >= 20, "a change met only {fewest} requests in flight");
    Ok(())
}
