//! One trace for a request, from the edge to the pod, and one for a change, from its watch event to the
//! acknowledgement of the nodes; and what it takes to get there: everything is upgraded under load.

use crate::world::World;
use anyhow::{Context as _, Result, ensure};
use penstock_e2e::{Receiver, Site, get_at};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

pub(crate) const ALL: &[super::Scenario] =
    &[("failures: an upgrade changes the number of workers; one trace from end to end", traced)];

const NAMESPACE: &str = "e2e-traces";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn traced(site: &Site) -> Result<()> {
    let world = World::new(site, NAMESPACE)?;
    let busy = world.announcer()?;
    let receiver = Receiver::start(IpAddr::V4(site.cluster().client_address().0))?;
    let variables = json!({
        "OTEL_EXPORTER_OTLP_ENDPOINT":
            format!("http://{}:{}", site.cluster().client_address().0, receiver.grpc),
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    });
    let telemetry = format!("telemetry.environment={variables}");

    let watched = world.watched()?;
    let begin = Instant::now();
    site.cluster().helm("upgrade", &["--set-json", &telemetry, "--set", "proxy.workers=1"])?;
    println!("  upgraded to one worker: {:.1?}", begin.elapsed());
    site.eventually("what is surplus is closed", || sockets(site, &busy, 1))?;
    watched.end()?;

    let result = request(&world, &receiver).and_then(|()| change(&world, &receiver));

    // As it was, whatever the traces show: others share the cluster.
    let watched = world.watched()?;
    let begin = Instant::now();
    site.cluster().helm("upgrade", &["--set", "proxy.workers=2"])?;
    println!("  upgraded to two workers: {:.1?}", begin.elapsed());
    site.eventually("there is a socket for each", || sockets(site, &busy, 2))?;
    watched.end()?;
    ensure!(world.announcer()? == busy, "the address moved");
    result
}

/// Edge to pod: the pod is told the trace of the caller, and the filter is in it.
fn request(world: &World<'_>, receiver: &Receiver) -> Result<()> {
    let site = world.site;
    site.module(NAMESPACE, "header-rules")?;
    site.apply(&format!(
        "
apiVersion: penstock.dev/v1alpha1
kind: WasmFilter
metadata: {{ name: stamp, namespace: {NAMESPACE} }}
spec:
  module: {{ configMap: {{ name: header-rules, key: module.wasm }} }}
  config: {{ request: [{{ set: {{ x-stamp: one }} }}] }}
"
    ))?;
    let filter = "{ type: ExtensionRef, extensionRef: { group: penstock.dev, kind: WasmFilter, name: stamp } }";
    world.round("filtered", filter)?;
    site.route(NAMESPACE, "echo")?;
    site.eventually("the filtered round is served", || world.serves("filtered"))?;

    let parent = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n");
    let answer = get_at(world.address, "echo.example", "/", &parent)?;
    let seen: Value = serde_json::from_str(&answer.body)?;
    let told = seen["headers"]["Traceparent"][0].as_str().context("the pod was told no trace")?;
    let told = told.to_owned();
    site.eventually("the trace of the request is whole", || {
        let spans = of(receiver, TRACE);
        let named = |name: &str| spans.iter().find(|span| span["name"] == name);
        let server = spans.iter().find(|span| span["kind"] == "SPAN_KIND_SERVER");
        let server = server.context("no span of the edge")?;
        let client = spans.iter().find(|span| span["kind"] == "SPAN_KIND_CLIENT");
        let client = client.context("no span of the way to the pod")?;
        let filter = format!("filter {NAMESPACE}/stamp");
        let filter = named(&filter).context("no span of the filter")?;
        for part in [client, filter] {
            ensure!(part["parent_span_id"] == server["span_id"], "{part} is not part of {server}");
        }
        let client = client["span_id"].as_str().unwrap_or_default();
        ensure!(told == format!("00-{TRACE}-{client}-01"), "the pod was told {told}");
        Ok(())
    })
}

/// Watch event to acknowledgement: the operator's reconcile, and in it what each node did.
fn change(world: &World<'_>, receiver: &Receiver) -> Result<()> {
    let proxies = world.site.pods("penstock-proxy")?.len();
    // A node that finds the operator later is no part of a change's trace.
    world.site.eventually("all proxies have found the operator", || {
        let leader = world.site.leader()?;
        let streams = world.site.metric(&leader, "penstock_operator_stream_nodes", "proxy")?;
        ensure!(streams == proxies as f64, "{streams} of {proxies}");
        Ok(())
    })?;
    world.change("traced")?;
    world.site.eventually("the trace of a change is whole", || {
        let spans = receiver.spans();
        let traces = spans.iter().filter(|span| span["name"] == "change");
        let whole = traces.filter_map(|change| change["trace_id"].as_str()).find(|trace| {
            let parts = of(receiver, trace);
            let named = |name: &str, of: &str| -> Vec<&Value> {
                let from = |span: &&Value| span["resource"]["service.name"] == of;
                parts.iter().filter(from).filter(|span| span["name"] == name).collect()
            };
            let acknowledged = named("acknowledge", "penstock-operator");
            let applied = named("apply", "penstock-proxy");
            let inside = |end: &&Value| {
                applied.iter().all(|apply| {
                    apply["parent_span_id"] == end["span_id"]
                        && apply["end"].as_u64() <= end["end"].as_u64()
                })
            };
            acknowledged.len() == 1
                && applied.len() == proxies
                && acknowledged.iter().all(inside)
                && named("translate", "penstock-operator").len() == 1
        });
        ensure!(whole.is_some(), "{:#?}\n{:?}", acknowledged(&spans), names(&spans));
        Ok(())
    })
}

fn of(receiver: &Receiver, trace: &str) -> Vec<Value> {
    receiver.spans().into_iter().filter(|span| span["trace_id"] == trace).collect()
}

/// The traces that somebody acknowledged, for whoever looks into a failure.
fn acknowledged(spans: &[Value]) -> Vec<String> {
    let ended = spans.iter().filter(|span| span["name"] == "acknowledge");
    let traces: BTreeSet<&str> = ended.filter_map(|span| span["trace_id"].as_str()).collect();
    let parts = spans.iter().filter(|s| s["trace_id"].as_str().is_some_and(|t| traces.contains(t)));
    parts
        .map(|span| {
            let [trace, id, parent, end] = ["trace_id", "span_id", "parent_span_id", "end"];
            format!(
                "{} {} {} {} in {} until {}",
                span[trace],
                span["resource"]["service.name"],
                span["name"],
                span[id],
                span[parent],
                span[end]
            )
        })
        .collect()
}

/// How many of which process and name there are, for whoever looks into a failure.
fn names(spans: &[Value]) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for span in spans {
        let name = format!("{} {}", span["resource"]["service.name"], span["name"]);
        *names.entry(name).or_default() += 1;
    }
    names
}

/// The agent of a node holds so many listening sockets.
fn sockets(site: &Site, node: &str, count: usize) -> Result<()> {
    let page = site.on_node(node, "http://127.0.0.1:9091/metrics")?;
    let line = format!("penstock_agent_sockets {count}");
    ensure!(page.lines().any(|shown| shown == line), "{page}");
    Ok(())
}
