//! Policies of HTTPRoutes, from the API server to the pod.

use anyhow::{Result, ensure};
use penstock_e2e::{Site, get};
use serde_json::Value;

pub(crate) const ALL: &[super::Scenario] =
    &[("a header policy edits what the pod gets, and the pod sees the client's address", headers)];

const NAMESPACE: &str = "e2e-policies";

fn headers(site: &Site) -> Result<()> {
    site.namespace(NAMESPACE, &["echo"])?;
    site.module(NAMESPACE, "header-rules")?;
    site.apply(&format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: edge, namespace: {NAMESPACE} }}
spec:
  gatewayClassName: penstock
  listeners: [{{ name: http, port: 80, protocol: HTTP }}]
---
apiVersion: penstock.dev/v1alpha1
kind: WasmFilter
metadata: {{ name: stamp, namespace: {NAMESPACE} }}
spec:
  module: {{ configMap: {{ name: header-rules, key: module.wasm }} }}
  config: {{ request: [{{ set: {{ x-stamp: one }} }}] }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: echo, namespace: {NAMESPACE} }}
spec:
  parentRefs: [{{ name: edge }}]
  rules:
    - filters: [{{ type: ExtensionRef, extensionRef: {{ group: penstock.dev, kind: WasmFilter, name: stamp }} }}]
      backendRefs: [{{ name: echo, port: 80 }}]
"
    ))?;
    let address = site.gateway(NAMESPACE, "edge", 80)?;
    site.route(NAMESPACE, "echo")?;
    let answer = get(address, "echo.example", "/")?;
    ensure!(answer.status == 200, "{answer:?}");
    let seen: Value = serde_json::from_str(&answer.body)?;
    ensure!(seen["headers"]["X-Stamp"][0] == "one", "{seen}");
    let client = site.cluster().client_address().0.to_string();
    ensure!(seen["headers"]["X-Forwarded-For"][0] == client, "{seen}");
    Ok(())
}
