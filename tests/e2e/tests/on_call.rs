//! What people on call see of `penstock run`: the access log and the traces of whole processes.

use anyhow::{Context as _, Result, ensure};
use penstock_e2e::{
    Backend, Gateway, Receiver, edge_on, eventually, filters_folder, free_address, get_at,
};
use serde_json::Value;
use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// A caller's trace (W3C Trace Context, section 3.2).
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// One route with a filter that sets a field by the request's `x-user`.
fn site(port: u16, backend: &Backend) -> Result<String> {
    let module = filters_folder()?.join("header-rules.wasm");
    Ok(format!(
        "{}apiVersion: penstock.dev/v1alpha1
kind: WasmFilter
metadata: {{ name: greet }}
spec:
  module: {{ file: {{ path: {} }} }}
  config: {{ request: [{{ set: {{ x-greeting: 'hello {{header.x-user}}' }} }}] }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: app }}
spec:
  parentRefs: [{{ name: edge }}]
  rules:
  - name: all
    filters:
    - {{ type: ExtensionRef, extensionRef: {{ group: penstock.dev, kind: WasmFilter, name: greet }} }}
    backendRefs: [{{ name: app, port: 80 }}]
---
apiVersion: v1
kind: Service
metadata: {{ name: app }}
spec: {{ ports: [{{ name: http, port: 80 }}] }}
---
{}",
        edge_on(port),
        module.display(),
        backend.endpoint_slice("default", "app")
    ))
}

#[test]
fn an_access_log_that_is_asked_for_has_a_line_for_each_request_and_no_query() -> Result<()> {
    let backend = Backend::start("app", Duration::ZERO)?;
    for form in [None, Some("json"), Some("text")] {
        let address = free_address();
        let site = site(address.port(), &backend)?;
        let arguments: Vec<&str> = form.iter().flat_map(|form| ["--access-log", form]).collect();
        let gateway = Gateway::start(&[("site.yaml", &site)], &arguments)?;
        for path in ["/first?token=secret", "/second"] {
            let answer = get_at(address, "shop.example", path, "x-user: ann\r\n")?;
            ensure!(answer.header("x-greeting") == Some("hello ann"), "{answer:?}");
        }
        let lines = |gateway: &Gateway| -> Result<Vec<String>> {
            let said = gateway.stdout()?;
            Ok(said.lines().filter(|l| l.contains("shop.example")).map(str::to_owned).collect())
        };
        if form.is_none() {
            std::thread::sleep(Duration::from_millis(500));
            ensure!(lines(&gateway)?.is_empty(), "off unless asked for: {}", gateway.stdout()?);
            continue;
        }
        let lines = eventually("a line for each request", PATIENCE, || {
            let lines = lines(&gateway)?;
            ensure!(lines.len() == 2, "{lines:?}");
            Ok(lines)
        })?;
        ensure!(!lines.concat().contains("secret"), "{lines:?}");
        ensure!(lines[0].contains("/first") && lines[1].contains("/second"), "{lines:?}");
        if form == Some("json") {
            let line: Value = serde_json::from_str(&lines[0])?;
            ensure!(line["status"] == 200 && line["route"] == "default/app", "{line}");
            ensure!(line["rule"] == "all" && line["method"] == "GET", "{line}");
            ensure!(line["filters"][0]["name"] == "default/greet", "{line}");
        }
    }
    Ok(())
}

#[test]
fn a_request_is_traced_from_its_caller_to_the_backend() -> Result<()> {
    let backend = Backend::start("app", Duration::ZERO)?;
    let receiver = Receiver::start(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
    let address = free_address();
    let site = site(address.port(), &backend)?;
    let endpoint = format!("http://127.0.0.1:{}", receiver.grpc);
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "5000"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("OTEL_SERVICE_NAME", "edge-of-the-test"),
    ];
    let gateway = Gateway::start_with(&[("site.yaml", &site)], &[], &environment)?;
    let caller = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\nx-user: ann\r\n");
    let answer = get_at(address, "shop.example", "/", &caller)?;
    ensure!(answer.status == 200, "{answer:?}");
    let spans = eventually("a span for request, filter and upstream", PATIENCE, || {
        let mut spans = receiver.spans();
        spans.retain(|span| span["trace_id"] == TRACE);
        ensure!(spans.len() == 3, "{spans:?}");
        Ok(spans)
    })?;
    let named = |part: &str| {
        let found =
            spans.iter().find(|span| span["name"].as_str().is_some_and(|n| n.contains(part)));
        found.with_context(|| format!("no span {part} in {spans:?}"))
    };
    ensure!(named("filter default/greet")?.to_string().contains("penstock.filter.tier"));
    for kind in ["SPAN_KIND_SERVER", "SPAN_KIND_CLIENT"] {
        ensure!(spans.iter().any(|span| span["kind"] == kind), "no {kind} in {spans:?}");
    }
    ensure!(gateway.terminate(Duration::from_secs(20))?, "ends with code 0");
    Ok(())
}

#[test]
fn a_variable_that_is_not_understood_stops_the_start_by_name() -> Result<()> {
    let backend = Backend::start("app", Duration::ZERO)?;
    let site = site(free_address().port(), &backend)?;
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1s"),
    ];
    let refused = Gateway::start_with(&[("site.yaml", &site)], &[], &environment);
    let said = format!("{:#}", refused.err().context("it starts")?);
    ensure!(said.contains("OTEL_EXPORTER_OTLP_TIMEOUT=1s is not a number"), "{said}");
    Ok(())
}
