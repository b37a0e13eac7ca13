//! `parentRefs`: to which listeners a route is attached, and for which names.

use crate::condition::Problem;
use crate::gateway::{GatewayView, ListenerView};
use crate::{Index, Mode, Name, hostname};
use penstock_resources::conditions::reasons;
use penstock_resources::gateway_api::GROUP;
use penstock_resources::gateway_api::httproutes::HttpRouteParentRefs;
use std::collections::BTreeMap;

/// A `parentRef` to a Gateway of ours.
#[derive(Debug)]
pub(crate) struct ParentView<'a> {
    pub(crate) reference: &'a HttpRouteParentRefs,
    /// Where the route is attached, or why it is not.
    pub(crate) outcome: Result<Vec<Attached>, Problem>,
}

/// A listener that admits a route.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) gateway: Name,
    /// Position among the listeners of the Gateway.
    pub(crate) listener: usize,
    /// Key of the listener.
    pub(crate) key: String,
    /// Where the names meet, sorted.
    pub(crate) hostnames: Vec<String>,
}

/// Looks at one `parentRef` of a route in `namespace`. `None`: it is not ours to judge.
pub(super) fn translate<'a>(
    index: &Index,
    gateways: &BTreeMap<Name, GatewayView<'_>>,
    namespace: &str,
    hostnames: &[String],
    reference: &'a HttpRouteParentRefs,
) -> Option<ParentView<'a>> {
    let group = reference.group.as_deref().unwrap_or(GROUP);
    let kind = reference.kind.as_deref().unwrap_or("Gateway");
    let standalone = index.settings().mode == Mode::Standalone;
    let refuse = |message: String| {
        let problem = Problem::new(reasons::NO_MATCHING_PARENT, message);
        standalone.then_some(ParentView { reference, outcome: Err(problem) })
    };
    if group != GROUP || kind != "Gateway" {
        return refuse(format!("{kind} of group `{group}` is no parent of an HTTPRoute here"));
    }
    let name = Name::new(reference.namespace.as_deref().unwrap_or(namespace), &reference.name);
    let Some(gateway) = gateways.get(&name) else {
        if index.gateways.contains_key(&name) {
            // Another controller's.
            return None;
        }
        return refuse(format!("Gateway {name} does not exist"));
    };
    let outcome = attach(index, gateway, namespace, hostnames, reference);
    Some(ParentView { reference, outcome })
}

fn attach(
    index: &Index,
    gateway: &GatewayView<'_>,
    namespace: &str,
    hostnames: &[String],
    reference: &HttpRouteParentRefs,
) -> Result<Vec<Attached>, Problem> {
    let named = gateway.listeners.iter().enumerate().filter(|(_, listener)| {
        reference.section_name.as_ref().is_none_or(|section| *section == listener.spec.name)
            && reference.port.is_none_or(|port| port == listener.spec.port)
    });
    let named: Vec<_> = named.collect();
    if named.is_empty() {
        return Err(Problem::new(reasons::NO_MATCHING_PARENT, no_listener(gateway, reference)));
    }
    let admits = |listener: &ListenerView<'_>| {
        let namespaces = listener.namespaces.as_ref();
        listener.http_routes
            && namespaces.is_some_and(|n| n.admit(index, &gateway.name.namespace, namespace))
    };
    let admitting: Vec<_> = named.into_iter().filter(|(_, listener)| admits(listener)).collect();
    if admitting.is_empty() {
        let message = format!(
            "allowedRoutes of Gateway {} admits no HTTPRoute of namespace {namespace} there",
            gateway.name
        );
        return Err(Problem::new(reasons::NOT_ALLOWED_BY_LISTENERS, message));
    }
    let attached = admitting.into_iter().filter_map(|(at, listener)| {
        let hostnames = common(&listener.hostname, hostnames);
        let attached = Attached {
            gateway: gateway.name.clone(),
            listener: at,
            key: listener.key.clone(),
            hostnames,
        };
        (!attached.hostnames.is_empty()).then_some(attached)
    });
    let attached: Vec<_> = attached.collect();
    if attached.is_empty() {
        let message = format!(
            "no listener of Gateway {} has a hostname in common with {}",
            gateway.name,
            hostnames.join(", ")
        );
        return Err(Problem::new(reasons::NO_MATCHING_LISTENER_HOSTNAME, message));
    }
    Ok(attached)
}

/// Where a listener's hostname meets those of a route; a route without any takes the listener's.
fn common(listener: &str, route: &[String]) -> Vec<String> {
    if route.is_empty() {
        return vec![listener.to_owned()];
    }
    let names = route.iter().filter_map(|name| hostname::intersect(listener, name));
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

fn no_listener(gateway: &GatewayView<'_>, reference: &HttpRouteParentRefs) -> String {
    let section = reference.section_name.as_ref().map(|name| format!(" with the name {name}"));
    let port = reference.port.map(|port| format!(" on port {port}"));
    let names: Vec<_> = gateway.listeners.iter().map(|l| l.spec.name.as_str()).collect();
    format!(
        "Gateway {} has no listener{}{}; it has {}",
        gateway.name,
        section.unwrap_or_default(),
        port.unwrap_or_default(),
        names.join(", ")
    )
}
