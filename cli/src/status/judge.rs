//! From what was read to what is said: a function from a value to a value.

use super::{
    components, objects,
    report::{ClassLine, Report},
    seen::Seen,
};
use crate::cluster::{Denied, Problem};
use kube::ResourceExt as _;
use penstock_resources::{Kind, gateway_api};
use std::collections::BTreeSet;

/// Annotation of the operator's Deployment: values of the chart that ask for what its version does
/// not do, with commas between them.
pub(crate) const NOT_IN_THIS_VERSION: &str = "penstock.dev/not-in-this-version";
/// Annotation of the operator's Deployment: the GatewayClass that the chart makes.
pub(crate) const GATEWAY_CLASS: &str = "penstock.dev/gateway-class";

/// Judges everything.
pub(crate) fn judge(seen: &Seen) -> Report {
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    installation(seen, &mut problems);
    definitions(seen, &mut problems);
    problems.extend(seen.denied.iter().collect::<BTreeSet<_>>().into_iter().map(denied));
    let (components, nodes) = components::judge(seen, &mut problems);
    let gateway_classes = objects::classes(seen, &mut problems);
    class(seen, &gateway_classes, &mut problems, &mut notes);
    let gateways = objects::gateways(seen, &gateway_classes, &mut problems);
    let routes = objects::routes(seen, &gateways, &mut problems);
    let wasm_filters = objects::filters(seen, &mut problems);
    let load_balancer_pools = objects::pools(seen, &mut problems);
    astray(seen, &mut notes);
    unserved(seen, &mut notes);
    Report {
        well: problems.is_empty(),
        namespace: seen.namespace.clone(),
        server: seen.server.clone(),
        kubernetes: seen.kubernetes.clone(),
        command: env!("CARGO_PKG_VERSION").to_owned(),
        components,
        nodes,
        gateway_classes,
        gateways,
        routes,
        wasm_filters,
        load_balancer_pools,
        notes,
        problems,
    }
}

/// Whether the chart is installed, and once.
fn installation(seen: &Seen, problems: &mut Vec<Problem>) {
    let install = "install it with helm install penstock charts/penstock -n penstock-system \
                   --create-namespace";
    let readable = seen.may_read("deployments") && seen.may_read("daemonsets");
    let there: Vec<&str> = seen.namespaces.iter().map(String::as_str).collect();
    match (&seen.namespace, there.as_slice()) {
        (None, _) if readable => {
            let cause = "Penstock is not installed in this cluster";
            problems.push(Problem::new("Cluster", "NotInstalled", cause, install));
        }
        (Some(namespace), []) if readable => {
            let object = format!("Namespace {namespace}");
            let cause = "Penstock is not installed in it";
            let remedy = format!("leave -n out to have it looked for, or {install}");
            problems.push(Problem::new(object, "NotInstalled", cause, remedy));
        }
        (_, [_, _, ..]) => {
            let cause = format!("Penstock is installed more than once: in {}", there.join(", "));
            let remedy = "helm uninstall all but one; they serve the same GatewayClasses";
            problems.push(Problem::new("Cluster", "InstalledTwice", cause, remedy));
        }
        _ => {}
    }
}

/// Definitions that are missing.
fn definitions(seen: &Seen, problems: &mut Vec<Problem>) {
    for kind in &seen.missing {
        let remedy = if kind.group() == gateway_api::GROUP {
            format!(
                "install release {} of github.com/kubernetes-sigs/gateway-api (kubectl apply \
                 --server-side -f standard-install.yaml)",
                gateway_api::BUNDLE_VERSION
            )
        } else {
            "helm upgrade with crds.install=true".to_owned()
        };
        let object = format!("CustomResourceDefinition {kind} ({})", kind.group());
        let cause = "it is not installed: objects of this kind cannot be made";
        problems.push(Problem::new(object, "DefinitionMissing", cause, remedy));
    }
}

/// What could not be read. Where the chart is looked for, saying where it is helps.
fn denied(denied: &Denied) -> Problem {
    let mut problem = Problem::from(denied);
    let looked_for = ["deployments", "daemonsets"].contains(&denied.resource.as_str());
    if denied.namespace.is_none() && looked_for {
        problem.remedy.push_str(", or say with -n where Penstock is installed");
    }
    problem
}

/// The GatewayClass that the chart makes.
fn class(seen: &Seen, classes: &[ClassLine], problems: &mut Vec<Problem>, notes: &mut Vec<String>) {
    let Some(operator) = &seen.operator else { return };
    if !seen.knows(Kind::GatewayClass, "gatewayclasses") {
        return;
    }
    match operator.annotations().get(GATEWAY_CLASS) {
        Some(name) if classes.iter().all(|class| class.name != *name) => {
            let object = format!("GatewayClass {name}");
            let cause = "the chart's GatewayClass is not there, or belongs to another controller";
            problems.push(Problem::new(object, "Missing", cause, "helm upgrade puts it back"));
        }
        None if classes.is_empty() => notes.push(
            "no GatewayClass belongs to Penstock (gatewayAPI.enabled is false): no Gateway is served"
                .to_owned(),
        ),
        _ => {}
    }
}

/// What nobody serves because of a name that leads nowhere: nobody writes a status for it.
fn astray(seen: &Seen, notes: &mut Vec<String>) {
    if seen.knows(Kind::GatewayClass, "gatewayclasses") {
        for gateway in &seen.gateways {
            let class = &gateway.spec.gateway_class_name;
            if seen.classes.iter().all(|there| there.name_any() != *class) {
                notes.push(format!(
                    "Gateway {}/{} asks for GatewayClass {class}, which does not exist: nobody \
                     serves it",
                    gateway.namespace().unwrap_or_default(),
                    gateway.name_any()
                ));
            }
        }
    }
    if !seen.knows(Kind::Gateway, "gateways") {
        return;
    }
    let there: BTreeSet<(String, String)> =
        seen.gateways.iter().map(|g| (g.namespace().unwrap_or_default(), g.name_any())).collect();
    for route in seen.routes.iter().filter(|r| r.status.iter().all(|s| s.parents.is_empty())) {
        for (namespace, name) in objects::parents(route) {
            if !there.contains(&(namespace.clone(), name.clone())) {
                notes.push(format!(
                    "HTTPRoute {}/{} names Gateway {namespace}/{name}, which does not exist: nobody \
                     serves it",
                    route.namespace().unwrap_or_default(),
                    route.name_any()
                ));
            }
        }
    }
}

/// Values that ask for what this version does not do.
fn unserved(seen: &Seen, notes: &mut Vec<String>) {
    let annotations = seen.operator.as_ref().map(|operator| operator.annotations());
    let Some(values) = annotations.and_then(|all| all.get(NOT_IN_THIS_VERSION)) else { return };
    let values = values.split(',').map(str::trim).filter(|value| !value.is_empty());
    let (flows, addresses): (Vec<&str>, Vec<&str>) =
        values.partition(|value| value.starts_with("hubble."));
    for (values, meaning) in [
        (
            addresses,
            "pods keep the addresses of the cluster's CNI plugin; leave it (aws-node on EKS) installed",
        ),
        (
            flows,
            "flows are not recorded; metrics of each node are at the agent's and proxy's /metrics",
        ),
    ] {
        if !values.is_empty() {
            notes.push(format!("not in this version: {}: {meaning}", values.join(", ")));
        }
    }
}
