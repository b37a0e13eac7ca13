//! What an independent receiver gets, and what the upstream is told.

use crate::receiver::{Receiver, run};
use serde_json::Value;
use std::time::{Duration, Instant};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

fn endpoint(port: u64) -> (&'static str, String) {
    ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}"))
}

fn variable(name: &'static str, value: &str) -> (&'static str, String) {
    (name, value.to_owned())
}

fn of_kind<'a>(spans: &'a [Value], kind: &str) -> Vec<&'a Value> {
    spans.iter().filter(|span| span["kind"] == format!("SPAN_KIND_{kind}")).collect()
}

/// One server span with one filter's span and one upstream try below it, as told to the upstream.
fn check_tree(spans: &[Value], seen: &Value) {
    assert_eq!(spans.len(), 3, "{spans:#?}");
    let [server] = of_kind(spans, "SERVER")[..] else { panic!("{spans:#?}") };
    let [filter] = of_kind(spans, "INTERNAL")[..] else { panic!("{spans:#?}") };
    let [client] = of_kind(spans, "CLIENT")[..] else { panic!("{spans:#?}") };

    assert_eq!(server["name"], "GET /v1");
    assert_eq!(server["parent_span_id"], PARENT);
    assert_eq!(server["trace_state"], "vendor=1");
    let attributes = &server["attributes"];
    assert_eq!(attributes["http.request.method"], "GET");
    assert_eq!(attributes["http.route"], "/v1");
    assert_eq!(attributes["http.response.status_code"], 200);
    assert_eq!(attributes["url.path"], "/v1/things");
    assert_eq!(attributes["url.scheme"], "http");
    assert_eq!(attributes["server.address"], "a.example");
    assert_eq!(attributes["client.address"], "127.0.0.1");
    assert_eq!(attributes["network.protocol.version"], "1.1");
    assert_eq!(attributes["user_agent.original"], "test/1");
    assert_eq!(attributes["penstock.route"], "test/r0");
    assert_eq!(attributes["penstock.listener"], "test/gw/http");
    assert!(!spans.iter().any(|span| span.to_string().contains("secret")), "a query is shown");

    assert_eq!(filter["name"], "filter test/capable");
    let attributes = &filter["attributes"];
    assert_eq!(attributes["penstock.filter"], "test/capable");
    assert_eq!(attributes["penstock.filter.stage"], "request");
    assert_eq!(attributes["penstock.filter.tier"], "call");
    assert_eq!(attributes["penstock.filter.verdict"], "edit");
    assert_eq!(attributes["tenant"], "acme", "what the policy put on its span");
    assert_eq!(attributes["n"], 7);
    assert_eq!(filter["events"], serde_json::json!(["decided"]));

    assert_eq!(client["attributes"]["penstock.backend"], "test/echo:80");
    assert_eq!(client["attributes"]["http.response.status_code"], 200);
    assert_eq!(client["attributes"]["server.address"], "127.0.0.1");
    let client_id = client["span_id"].as_str().expect("an id");
    assert_eq!(seen["traceparent"], format!("00-{TRACE}-{client_id}-01"));
    assert_eq!(seen["tracestate"], "vendor=1");

    let time = |span: &Value, end: &str| span[end].as_u64().expect("nanoseconds");
    for child in [filter, client] {
        assert_eq!(child["parent_span_id"], server["span_id"]);
        assert!(time(server, "start") <= time(child, "start"));
        assert!(time(child, "end") <= time(server, "end"));
    }
    assert!(time(filter, "end") <= time(client, "start"), "first the filter, then the upstream");
    for span in spans {
        assert_eq!(span["trace_id"], TRACE);
        assert_eq!(span["scope"], "penstock");
    }
}

const TRACED: &[(&str, &str)] = &[
    ("traceparent", SAMPLED),
    ("tracestate", "vendor=1"),
    ("user-agent", "test/1"),
    ("x-do", "trace"),
];

#[test]
fn a_request_is_one_tree_over_grpc() {
    let receiver = Receiver::start(0);
    let variables = [endpoint(receiver.grpc), variable("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    let report = run(&variables, &[TRACED]);
    let spans = receiver.spans();
    check_tree(&spans, &report.seen[0]);
    assert!(spans.iter().all(|span| span["transport"] == "grpc"));
    assert_eq!(spans[0]["resource"]["service.name"], "penstock-test");
    assert!(report.page.contains("\npenstock_trace_spans_exported_total 3\n"), "{}", report.page);
}

#[test]
fn a_request_is_one_tree_over_http_with_the_names_and_headers_of_the_environment() {
    let receiver = Receiver::start(0);
    let variables = [
        endpoint(receiver.http),
        variable("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=acme,x-key=k%20v"),
        variable("OTEL_SERVICE_NAME", "edge"),
        variable("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
    ];
    let report = run(&variables, &[TRACED]);
    let spans = receiver.spans();
    check_tree(&spans, &report.seen[0]);
    for span in &spans {
        assert_eq!(span["transport"], "http");
        assert_eq!(span["headers"]["x-tenant"], "acme");
        assert_eq!(span["headers"]["x-key"], "k v");
        assert_eq!(span["resource"]["service.name"], "edge");
        assert_eq!(span["resource"]["deployment.environment.name"], "test");
    }
    assert!(!report.log.contains("acme"), "headers to the receiver may be secrets");
}

#[test]
fn without_a_caller_a_new_trace_begins() {
    let receiver = Receiver::start(0);
    let report = run(&[endpoint(receiver.http)], &[&[], &[]]);
    let spans = receiver.spans();
    let servers = of_kind(&spans, "SERVER");
    assert_eq!(servers.len(), 2);
    assert_ne!(servers[0]["trace_id"], servers[1]["trace_id"]);
    assert!(servers.iter().all(|server| server["parent_span_id"] == ""));
    for (server, seen) in servers.iter().zip(&report.seen) {
        let trace = server["trace_id"].as_str().expect("an id");
        let told = seen["traceparent"].as_str().expect("a context");
        assert!(told.starts_with(&format!("00-{trace}-")) && told.ends_with("-01"), "{told}");
    }
}

#[test]
fn a_caller_who_does_not_record_is_followed_and_the_upstream_told_so() {
    let receiver = Receiver::start(0);
    let report = run(&[endpoint(receiver.http)], &[&[("traceparent", UNSAMPLED)]]);
    assert_eq!(receiver.spans(), Vec::<Value>::new());
    let told = report.seen[0]["traceparent"].as_str().expect("a context");
    assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-00"), "{told}");
    assert!(!told.contains(PARENT), "the upstream's parent is this gateway");
}

#[test]
fn a_sampler_of_nothing_records_nothing() {
    let receiver = Receiver::start(0);
    let variables =
        [endpoint(receiver.http), variable("OTEL_TRACES_SAMPLER", "parentbased_always_off")];
    let report = run(&variables, &[&[], TRACED]);
    let spans = receiver.spans();
    assert_eq!(of_kind(&spans, "SERVER").len(), 1, "only the caller's trace is recorded");
    let told = report.seen[0]["traceparent"].as_str().expect("a context");
    assert!(told.ends_with("-00"), "{told}");
}

#[test]
fn without_an_endpoint_contexts_pass_as_they_came() {
    let report = run(&[], &[TRACED, &[]]);
    assert_eq!(report.seen[0]["traceparent"], SAMPLED);
    assert_eq!(report.seen[0]["tracestate"], "vendor=1");
    assert_eq!(report.seen[1]["traceparent"], Value::Null);
    assert!(!report.page.contains("\npenstock_trace_spans_exported_total "));
}

#[test]
fn a_receiver_that_is_not_ready_is_tried_again() {
    for protocol in ["grpc", "http/protobuf"] {
        let receiver = Receiver::start(1);
        let port = if protocol == "grpc" { receiver.grpc } else { receiver.http };
        let variables = [endpoint(port), variable("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
        run(&variables, &[TRACED]);
        assert_eq!(receiver.spans().len(), 3, "{protocol}");
    }
}

#[test]
fn a_receiver_that_is_not_there_costs_no_request_and_is_said_once() {
    let started = Instant::now();
    let nobody = u64::from(crate::support::free_port());
    let variables = [
        endpoint(nobody),
        variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2"),
        variable("OTEL_BSP_EXPORT_TIMEOUT", "500"),
    ];
    let report = run(&variables, &[TRACED, TRACED, TRACED]);
    assert_eq!(report.seen.len(), 3, "every request was answered");
    assert!(report.page.contains("\npenstock_trace_spans_failed_total 9\n"), "{}", report.page);
    assert_eq!(report.log.matches("spans are lost").count(), 1, "{}", report.log);
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn what_finds_the_queue_full_is_dropped_and_counted() {
    let nobody = u64::from(crate::support::free_port());
    let variables = [endpoint(nobody), variable("OTEL_BSP_MAX_QUEUE_SIZE", "1")];
    let requests = vec![TRACED; 50];
    let report = run(&variables, &requests);
    assert_eq!(report.seen.len(), 50, "every request was answered");
    let dropped: u64 = report
        .page
        .lines()
        .find_map(|line| line.strip_prefix("penstock_trace_queue_dropped_total "))
        .and_then(|count| count.parse().ok())
        .expect("a count");
    assert!(dropped >= 1, "fifty requests do not fit a queue of one: {dropped}");
}

#[test]
fn the_metrics_page_counts_what_clients_got() {
    let report = run(&[], &[&[("x-do", "gauge")], &[], &[]]);
    for line in [
        r#"penstock_http_requests_total{route="test/r0",status_class="2xx"} 3"#,
        r#"penstock_http_request_duration_seconds_count{route="test/r0"} 3"#,
        r#"penstock_worker_requests_total{worker="0"} 3"#,
        r#"penstock_worker_requests_active{worker="0"} 0"#,
        r#"penstock_worker_connections_accepted_total{worker="0"} 1"#,
        r#"penstock_listener_requests_total{listener="test/gw/http",protocol="http/1"} 3"#,
        r#"penstock_upstream_responses_total{backend="test/echo:80",status_class="2xx"} 3"#,
        r#"penstock_upstream_connections_created_total{backend="test/echo:80"} 1"#,
        r#"penstock_upstream_connections_reused_total{backend="test/echo:80"} 2"#,
        r#"penstock_filter_verdicts_total{filter="test/capable",verdict="edit"} 1"#,
        r#"penstock_filter_verdicts_total{filter="test/capable",verdict="next"} 2"#,
    ] {
        assert!(report.page.lines().any(|known| known == line), "{line}\n{}", report.page);
    }
}
