//! Gateway: its listeners, settings, addresses and status.

mod addresses;
mod allowed_routes;
mod certificate;
mod conflicts;
mod frontend;
mod listener;
mod status;

pub(crate) use listener::ListenerView;

use crate::condition::Problem;
use crate::gateway_class::{Claim, ClassView, Classes};
use crate::infrastructure::{Granted, Infrastructure};
use crate::listener_policy::ListenerPolicies;
use crate::name::created;
use crate::{Index, Mode, Name, gateway_config};
use addresses::Addresses;
use conflicts::SharedPorts;
use penstock_config as config;
use penstock_resources::conditions::{CONTROLLER_NAME, reasons};
use penstock_resources::gateway_api::Gateway;
use std::collections::{BTreeMap, BTreeSet};

/// A Gateway of ours and everything that is known about it.
#[derive(Debug)]
pub(crate) struct GatewayView<'a> {
    pub(crate) name: Name,
    gateway: &'a Gateway,
    /// Why it is not accepted.
    refused: Option<Problem>,
    /// What nodes are told; `None` where it is refused.
    pub(crate) resource: Option<config::Gateway>,
    pub(crate) listeners: Vec<ListenerView<'a>>,
    addresses: Addresses,
    /// What else its owner should know.
    notes: Vec<String>,
}

impl GatewayView<'_> {
    /// Whether the Gateway as a whole is refused.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Whether a listener is served.
    pub(crate) fn is_served(&self) -> bool {
        self.listeners.iter().any(|listener| listener.served)
    }
}

/// All Gateways of ours, by name.
pub(crate) fn translate<'a>(
    index: &'a Index,
    classes: &Classes<'a>,
    policies: &ListenerPolicies,
    infrastructure: &Infrastructure<'_>,
) -> BTreeMap<Name, GatewayView<'a>> {
    let mut by_age: Vec<_> = index.gateways.iter().map(|(name, g)| (name, g.as_ref())).collect();
    by_age.sort_by_key(|(name, gateway)| (created(&gateway.metadata), *name));
    let mut ports = SharedPorts::default();
    let mut views = BTreeMap::new();
    for (name, gateway) in by_age {
        let (class, refused) = match classes.claim(index, gateway) {
            Claim::Foreign => continue,
            Claim::Ours(class) => (Some(class), class_problem(class, gateway)),
            Claim::Unknown => (None, Some(unknown_class(gateway))),
        };
        let granted = infrastructure.granted(name);
        let mut view = view(index, name, gateway, policies, granted);
        view.refused = refused;
        view.settle(index, class);
        match index.settings().mode {
            Mode::Standalone => view.share_ports(&mut ports),
            Mode::Cluster => view.take_target_ports(infrastructure),
        }
        conflicts::find_overlaps(&mut view.listeners);
        let accepted = view.refused.is_none();
        for listener in &mut view.listeners {
            listener.served = accepted && listener.is_valid() && listener.blocked.is_none();
        }
        views.insert(name.clone(), view);
    }
    views
}

fn view<'a>(
    index: &'a Index,
    name: &Name,
    gateway: &'a Gateway,
    policies: &ListenerPolicies,
    granted: Granted,
) -> GatewayView<'a> {
    let mut notes = Vec::new();
    let mut sections = BTreeSet::new();
    let mut listeners = Vec::new();
    let frontend = gateway.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref());
    for spec in &gateway.spec.listeners {
        if sections.insert(spec.name.as_str()) {
            listeners.push(ListenerView::new(index, name, frontend, spec, policies));
        } else {
            notes.push(format!("a second listener with the name {} is left out", spec.name));
        }
    }
    conflicts::find(&mut listeners);
    if gateway.spec.allowed_listeners.is_some() {
        notes.push("allowedListeners has no effect: ListenerSets are not served".to_owned());
    }
    GatewayView {
        name: name.clone(),
        gateway,
        refused: None,
        resource: None,
        listeners,
        addresses: addresses::translate(index, gateway, granted),
        notes,
    }
}

impl GatewayView<'_> {
    /// Finds the settings, and decides whether the Gateway as a whole is accepted.
    fn settle(&mut self, index: &Index, class: Option<&ClassView<'_>>) {
        let own = gateway_config::of_gateway(index, self.gateway, &self.name.namespace);
        let resource = own.and_then(|own| {
            gateway_config::translate(&self.name, class.and_then(|c| c.config), own)
        });
        let refused = self.refused.take().or_else(|| resource.as_ref().err().cloned());
        self.refused = refused.or_else(|| self.addresses.refused.clone());
        self.resource = resource.ok().filter(|_| self.refused.is_none());
    }

    fn take_target_ports(&mut self, infrastructure: &Infrastructure<'_>) {
        for listener in self.listeners.iter_mut().filter(|listener| listener.is_valid()) {
            listener.target_port = infrastructure.target_port(&self.name, listener.spec.port);
            if listener.target_port.is_none() {
                listener.refuse(Problem::new(
                    reasons::PORT_UNAVAILABLE,
                    "all target ports of the cluster are in use: remove Gateways or ports",
                ));
            }
        }
    }

    fn share_ports(&mut self, ports: &mut SharedPorts) {
        if self.refused.is_some() {
            return;
        }
        for listener in &mut self.listeners {
            if !listener.is_valid() {
                continue;
            }
            if let Err(problem) = ports.take(&self.name, listener) {
                listener.refuse(problem);
            }
        }
    }
}

fn class_problem(class: &ClassView<'_>, gateway: &Gateway) -> Option<Problem> {
    class.problem.as_ref().map(|problem| {
        let class = &gateway.spec.gateway_class_name;
        let message = format!("GatewayClass {class} is not accepted: {}", problem.message);
        Problem::new(problem.reason, message)
    })
}

fn unknown_class(gateway: &Gateway) -> Problem {
    Problem::new(
        reasons::PENDING,
        format!(
            "GatewayClass {} does not exist: add one with controllerName {CONTROLLER_NAME}",
            gateway.spec.gateway_class_name
        ),
    )
}
