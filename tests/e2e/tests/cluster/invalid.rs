//! Filters that cannot be had.

use crate::objects::{condition, filter, from_config_map, refused, route, rule, seen};
use anyhow::{Result, ensure};
use penstock_e2e::{Site, edge, get, guest};
use std::fs;

pub(crate) const ALL: &[super::Scenario] = &[(
    "a filter that cannot be had answers 500 on its rule alone, and the statuses say why",
    unresolvable,
)];

const NAMESPACE: &str = "e2e-invalid";

/// Name, spec, and what the filter's status says: condition, reason, part of the message.
type Case = (&'static str, String, (&'static str, &'static str, &'static str));

fn cases() -> Vec<Case> {
    let of = |map: &str, more: &str| from_config_map(map, more);
    let not_accepted = |reason, part| ("Accepted", reason, part);
    let unresolved = |reason, part| ("ResolvedRefs", reason, part);
    let key = "{ module: { configMap: { name: header-rules, key: other.wasm } } }";
    let good = "config: { request: [{ set: { x-a: one } }] }";
    let misspelt = "config: { request: [{ set: { x-a: 1 } }] }";
    vec![
        ("map", of("nowhere", good), unresolved("ModuleNotFound", "does not exist; create it")),
        ("key", key.into(), unresolved("ModuleNotFound", "it has module.wasm")),
        ("text", of("text", ""), not_accepted("ModuleInvalid", "not a WebAssembly component")),
        ("world", of("describe-only", ""), not_accepted("WrongWorld", "build it for")),
        ("foreign", of("foreign-import", ""), not_accepted("WrongWorld", "guest:odd/files")),
        ("grant", of("capable", ""), not_accepted("CapabilityDenied", "metrics")),
        (
            "config",
            of("header-rules", misspelt),
            not_accepted("InvalidConfig", "/request/0/set/x-a"),
        ),
    ]
}

fn unresolvable(site: &Site) -> Result<()> {
    site.namespace(NAMESPACE, &["echo"])?;
    site.module(NAMESPACE, "header-rules")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("module.wasm");
    // kubectl puts what is no UTF-8 under binaryData.
    fs::write(&file, b"no component\xff")?;
    site.module_file(NAMESPACE, "text", &file)?;
    for name in ["describe-only", "foreign-import", "capable"] {
        fs::write(&file, guest(name)?)?;
        site.module_file(NAMESPACE, name, &file)?;
    }
    let mut manifest = edge(NAMESPACE);
    for (name, spec, _) in cases() {
        manifest += &filter(NAMESPACE, name, &spec);
        let rules = [rule("/bad", &[name], "echo"), rule("/good", &[], "echo")];
        manifest += &route(NAMESPACE, name, "edge", &host(name), &rules);
    }
    site.apply(&manifest)?;
    let address = site.gateway(NAMESPACE, "edge", 80)?;
    for (name, _, status) in cases() {
        refused(site, NAMESPACE, name, status)?;
        site.eventually(&format!("HTTPRoute {name} says why"), || {
            let route = site.object(NAMESPACE, "httproute", name)?;
            let conditions = &route["status"]["parents"][0]["conditions"];
            let said = condition(&route, conditions, "ResolvedRefs")?;
            ensure!(said["status"] == "False" && said["reason"] == "InvalidFilter", "{said}");
            let message = said["message"].as_str().unwrap_or_default();
            ensure!(message.contains(name) && message.contains(status.2), "{said}");
            ensure!(condition(&route, conditions, "Accepted")?["status"] == "True", "{route}");
            Ok(())
        })?;
        let answer = get(address, &host(name), "/bad")?;
        ensure!(answer.status == 500, "{name}: {answer:?}");
        seen(&get(address, &host(name), "/good")?)?;
    }

    // What was missing comes: nothing else has to be done.
    fs::copy(penstock_e2e::filters_folder()?.join("header-rules.wasm"), &file)?;
    site.module_file(NAMESPACE, "nowhere", &file)?;
    site.route(NAMESPACE, "map")?;
    site.eventually("the mended filter serves", || seen(&get(address, &host("map"), "/bad")?))?;
    Ok(())
}

fn host(name: &str) -> String {
    format!("{name}.example")
}
