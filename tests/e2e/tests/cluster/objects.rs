//! Objects that scenarios of policies share, and what their statuses say. Each namespace has one
//! Gateway, `edge`, and Services that answer in JSON what reached them.

use anyhow::{Context as _, Result, ensure};
use penstock_e2e::{Answer, Site};
use serde_json::Value;
use std::fmt::Write as _;

/// A `WasmFilter` with this spec, a map in YAML's flow style.
pub(crate) fn filter(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "
---
apiVersion: penstock.dev/v1alpha1
kind: WasmFilter
metadata: {{ name: {name}, namespace: {namespace} }}
spec: {spec}
"
    )
}

/// The spec of a filter whose module is in a ConfigMap: its key `module.wasm`, and what else is said.
pub(crate) fn from_config_map(name: &str, more: &str) -> String {
    format!("{{ module: {{ configMap: {{ name: {name}, key: module.wasm }} }}, {more} }}")
}

/// A rule of an HTTPRoute: paths below a prefix go through filters to a Service.
pub(crate) fn rule(prefix: &str, filters: &[&str], service: &str) -> String {
    let mut rule = format!(
        "
    - matches: [{{ path: {{ type: PathPrefix, value: {prefix} }} }}]
      backendRefs: [{{ name: {service}, port: 80 }}]
      filters:"
    );
    for name in filters {
        let _ = write!(
            rule,
            "
        - {{ type: ExtensionRef, extensionRef: {{ group: penstock.dev, kind: WasmFilter, name: {name} }} }}"
        );
    }
    if filters.is_empty() {
        rule += " []";
    }
    rule
}

/// An HTTPRoute of the Gateway, or of one listener of it (`edge, sectionName: x`), for host names.
pub(crate) fn route(
    namespace: &str,
    name: &str,
    parent: &str,
    hosts: &str,
    rules: &[String],
) -> String {
    let rules = rules.concat();
    format!(
        "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name}, namespace: {namespace} }}
spec:
  parentRefs: [{{ name: {parent} }}]
  hostnames: [{hosts}]
  rules:{rules}
"
    )
}

/// A condition of an object's newest generation.
///
/// # Errors
/// There is none yet.
pub(crate) fn condition(object: &Value, conditions: &Value, kind: &str) -> Result<Value> {
    let all = conditions.as_array().context("no conditions")?;
    let found = all.iter().find(|condition| condition["type"] == kind);
    let found = found.with_context(|| format!("no condition {kind} in {conditions}"))?;
    ensure!(found["observedGeneration"] == object["metadata"]["generation"], "old: {found}");
    Ok(found.clone())
}

/// Waits until the status of a filter says this of its newest generation: a condition that is false,
/// with a reason and a part of its message.
///
/// # Errors
/// What it says instead.
pub(crate) fn refused(
    site: &Site,
    namespace: &str,
    filter: &str,
    (kind, reason, part): (&str, &str, &str),
) -> Result<()> {
    site.eventually(&format!("WasmFilter {filter} is refused"), || {
        let object = site.object(namespace, "wasmfilter", filter)?;
        let said = condition(&object, &object["status"]["conditions"], kind)?;
        ensure!(said["status"] == "False" && said["reason"] == reason, "{said}");
        ensure!(said["message"].as_str().is_some_and(|m| m.contains(part)), "{part:?} in {said}");
        Ok(())
    })
}

/// Waits until a filter's newest generation is programmed with this module.
///
/// # Errors
/// What its status says instead.
pub(crate) fn programmed(site: &Site, namespace: &str, filter: &str, digest: &str) -> Result<()> {
    site.eventually(&format!("WasmFilter {filter} is programmed"), || {
        let object = site.object(namespace, "wasmfilter", filter)?;
        let said = condition(&object, &object["status"]["conditions"], "Programmed")?;
        ensure!(said["status"] == "True", "{said}");
        ensure!(object["status"]["digest"] == digest, "{}", object["status"]);
        Ok(())
    })
}

/// What reached a pod, by its answer.
///
/// # Errors
/// The answer is another one than that of a pod.
pub(crate) fn seen(answer: &Answer) -> Result<Value> {
    ensure!(answer.status == 200, "{answer:?}");
    Ok(serde_json::from_str(&answer.body)?)
}

/// The same module with another digest: a custom section more.
pub(crate) fn edition(module: &[u8], number: u8) -> Vec<u8> {
    [module, &[0, 3, 1, b'v', number]].concat()
}
