//! A report for people.

use super::report::{Component, GatewayLine, ListenerLine, NodeLine, Presence, Report, Tally};
use crate::{cluster::listed, table::table};
use std::fmt::Write as _;

/// The whole report.
pub(crate) fn text(report: &Report) -> String {
    let mut text = head(report);
    let mut add = |part: String| {
        if !part.is_empty() {
            text.push('\n');
            text.push_str(&part);
        }
    };
    add(components(&report.components));
    add(nodes(&report.nodes));
    add(objects(report));
    add(gateways(&report.gateways));
    add(report.notes.iter().map(|note| format!("note: {note}\n")).collect());
    add(listed(&report.problems, "everything is well"));
    text
}

fn head(report: &Report) -> String {
    let place = report.namespace.as_deref().map(|name| format!(" in namespace {name}"));
    let kubernetes = match report.kubernetes.as_str() {
        "" => String::new(),
        version => format!(", Kubernetes {version}"),
    };
    format!("Penstock{} at {}{kubernetes}\n", place.unwrap_or_default(), report.server)
}

fn components(components: &[Component]) -> String {
    let rows = components.iter().filter(|component| component.installed).map(|component| {
        [
            component.name.clone(),
            format!("{}/{}", component.ready, component.wanted),
            component.updated.to_string(),
            component.versions.join(", "),
            component.leader.as_ref().map(|name| format!("leader {name}")).unwrap_or_default(),
        ]
    });
    table(["COMPONENT", "READY", "UPDATED", "VERSION", ""], rows)
}

fn nodes(nodes: &[NodeLine]) -> String {
    let presence = |presence: Presence| match presence {
        Presence::Ready => "ready",
        Presence::NotReady => "not ready",
        Presence::Absent => "-",
    };
    let rows = nodes.iter().map(|node| {
        [
            node.name.clone(),
            yes(node.ready),
            presence(node.agent).to_owned(),
            presence(node.proxy).to_owned(),
            node.kernel.clone(),
        ]
    });
    table(["NODE", "READY", "AGENT", "PROXY", "KERNEL"], rows)
}

fn objects(report: &Report) -> String {
    let mut text = String::new();
    for class in &report.gateway_classes {
        let accepted = if class.accepted { "accepted" } else { "not accepted" };
        let _ = writeln!(text, "GatewayClass {}: {accepted}", class.name);
    }
    tally(&mut text, "HTTPRoutes", &report.routes);
    tally(&mut text, "WasmFilters", &report.wasm_filters);
    for pool in &report.load_balancer_pools {
        let accepted = if pool.accepted { "accepted" } else { "not accepted" };
        let free = if pool.free.is_empty() { "?" } else { pool.free.as_str() };
        let _ = writeln!(
            text,
            "LoadBalancerPool {}: {accepted}, {} used, {free} free",
            pool.name, pool.used
        );
    }
    text
}

fn tally(text: &mut String, what: &str, tally: &Tally) {
    if tally.total > 0 {
        let well = tally.total - tally.not_well.len();
        let _ = writeln!(text, "{what}: {well} of {} well", tally.total);
    }
}

fn gateways(gateways: &[GatewayLine]) -> String {
    let listener = |listener: &ListenerLine| {
        let routes = if listener.attached_routes == 1 { "route" } else { "routes" };
        let serves = if listener.programmed { "" } else { ", not programmed" };
        format!(
            "{} {}:{} ({} {routes}{serves})",
            listener.name, listener.protocol, listener.port, listener.attached_routes
        )
    };
    let rows = gateways.iter().map(|gateway| {
        let listeners: Vec<String> = gateway.listeners.iter().map(listener).collect();
        [
            format!("{}/{}", gateway.namespace, gateway.name),
            gateway.class.clone(),
            match gateway.addresses.as_slice() {
                [] => "-".to_owned(),
                addresses => addresses.join(","),
            },
            yes(gateway.accepted),
            yes(gateway.programmed),
            listeners.join(", "),
        ]
    });
    table(["GATEWAY", "CLASS", "ADDRESSES", "ACCEPTED", "PROGRAMMED", "LISTENERS"], rows)
}

fn yes(good: bool) -> String {
    (if good { "yes" } else { "no" }).to_owned()
}
