//! A proxy in a process of its own, since the `OTEL_*` variables are the process's.

use crate::support::{
    Gateway,
    backend::Echo,
    client::Connection,
    config::{prefix, step},
};
use penstock_config::{Filter, OnFailure, OpaqueValues, PolicyKind, ResourceKind, StepAction};
use penstock_filter_host::digest;
use penstock_proxy::telemetry::{MetricsPage, Tracer};
use penstock_telemetry::{LogFormat, PageFormat, init};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// Holds the requests to make: lists of fields, as JSON.
pub(crate) const REQUESTS: &str = "PENSTOCK_TEST_REQUESTS";
/// Stands before the report.
pub(crate) const REPORT: &str = "REPORT ";

/// The policy that puts on its span what a request asks for.
const FILTER: &str = "test/capable";

#[test]
#[ignore = "the tests of traces run it, with variables of their own"]
fn proxy_in_a_process_of_its_own() {
    let requests = std::env::var(REQUESTS).expect("requests");
    let requests: Vec<Vec<(String, String)>> = serde_json::from_str(&requests).expect("requests");
    let telemetry = init("penstock-test", LogFormat::Text).expect("telemetry");
    let echo = Echo::start("echo");
    let tracer = telemetry.spans().map(|sink| Arc::new(Tracer::new(sink)));
    let mut gateway = Gateway::start_with(|options| options.tracer = tracer.clone(), |_| {});
    let module = capable();
    let host = gateway.proxy.host().clone();
    host.load(host.compile(&module).expect("a module"));
    let ack = gateway.apply(|config| {
        let backend = config.backend("echo", &[echo.address]);
        config.state.insert(ResourceKind::Filter(filter(&module)));
        config.rule(prefix("/v1"), |rule| {
            rule.filters = vec![step(StepAction::Policy(FILTER.into()))];
            rule.backends = vec![backend];
        });
    });
    assert_eq!(ack.refused, [], "everything is served");

    let mut client = Connection::open(gateway.address());
    let mut seen = Vec::new();
    for request in requests {
        let fields: String =
            request.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        client.send(format!(
            "GET /v1/things?token=secret HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"
        ));
        let answer = client.answer();
        assert_eq!(answer.status, 200);
        seen.push(json!({
            "traceparent": answer.seen("traceparent"),
            "tracestate": answer.seen("tracestate"),
        }));
    }
    let page = MetricsPage {
        metrics: gateway.proxy.metrics().clone(),
        filters: Some(Arc::new(move || host.stats())),
        tracer,
        export: telemetry.export_stats(),
        log: None,
    };
    drop(gateway);
    telemetry.flush(Duration::from_secs(10));
    let page = page.render(PageFormat::OpenMetrics);
    println!("{REPORT}{}", json!({ "seen": seen, "page": page }));
}

/// The component of the guest that uses every capability.
fn capable() -> Vec<u8> {
    let workspace = xtask_components::root().join("tests/guests");
    let target = xtask_components::target_dir().join("guests");
    let components = xtask_components::build(&workspace, &target).expect("the guests build");
    let capable = components.into_iter().find(|component| component.name == "guest-capable");
    capable.expect("the guest").bytes
}

fn filter(module: &[u8]) -> Filter {
    Filter {
        name: FILTER.into(),
        kind: PolicyKind::Headers as i32,
        module: digest(module),
        config_json: "null".into(),
        generation: 1,
        grants: ["clock", "log", "metrics", "random", "trace"].map(String::from).to_vec(),
        memory_bytes: 16 << 20,
        deadline_us: 50_000,
        max_invocations: 0,
        on_failure: OnFailure::Closed as i32,
        opaque_values: OpaqueValues::Reject as i32,
    }
}
