//! Statuses, and what the nodes' answers make of them.

use crate::Name;
use crate::condition::{Truth, is_true, replace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use penstock_config::{Key, Kind, SharedMap};
use penstock_resources::conditions::{reasons, types};
use penstock_resources::gateway_api::gatewayclasses::GatewayClassStatus;
use penstock_resources::gateway_api::gateways::{GatewayStatus, GatewayStatusListeners};
use penstock_resources::gateway_api::httproutes::HttpRouteStatus;
use penstock_resources::load_balancer_pool::LoadBalancerPoolStatus;
use penstock_resources::wasm_filter::WasmFilterStatus;
use std::collections::{BTreeMap, BTreeSet};

/// The whole status of every object that Penstock writes to. Times in conditions are 1970:
/// [`crate::merge`] puts in the right ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statuses {
    /// Of GatewayClasses, by name.
    pub gateway_classes: BTreeMap<String, GatewayClassStatus>,
    /// Of Gateways.
    pub gateways: BTreeMap<Name, GatewayStatus>,
    /// Of HTTPRoutes: the parents of ours alone.
    pub http_routes: SharedMap<Name, HttpRouteStatus>,
    /// Of WasmFilters.
    pub wasm_filters: BTreeMap<Name, WasmFilterStatus>,
    /// Of LoadBalancerPools, by name; in a cluster.
    pub load_balancer_pools: BTreeMap<String, LoadBalancerPoolStatus>,
    pub(crate) links: Links,
}

/// Which statuses speak of a resource.
pub(crate) type Links = SharedMap<Key, BTreeSet<Link>>;

/// What the nodes answered to a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirmation {
    /// Resources that could not be put into service: the key, a bounded reason, and cause and
    /// remedy in words.
    pub refused: Vec<(Key, String, String)>,
    /// Those of them of which the nodes serve what they had before.
    pub kept: BTreeSet<Key>,
    /// Whether everything else is in service on every node that counts.
    pub acknowledged: bool,
}

/// A status that speaks of a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Link {
    Gateway(Name),
    Listener(Name, String),
    /// By the position of the parent in the status.
    Route(Name, usize),
    Filter(Name),
}

impl Statuses {
    /// The statuses once the nodes have answered: what they confirmed is `Programmed`, what they
    /// refused is not and says why, and so does everything that depends on it.
    pub fn confirm(&self, confirmation: &Confirmation) -> Statuses {
        let mut statuses = self.clone();
        if confirmation.acknowledged {
            statuses.acknowledge();
        }
        for (key, reason, message) in &confirmation.refused {
            for link in self.links.get(key).into_iter().flatten() {
                match (link, confirmation.kept.contains(key)) {
                    (_, false) => statuses.refuse(key.kind(), link, reason, message),
                    (Link::Filter(name), true) => statuses.keep(name, reason, message),
                    // Who uses it is served.
                    (_, true) => {}
                }
            }
        }
        statuses.gateways.values_mut().for_each(settle);
        statuses
    }

    fn acknowledge(&mut self) {
        for gateway in self.gateways.values_mut() {
            for listener in gateway.listeners.iter_mut().flatten() {
                program(&mut listener.conditions, "the listener is in service");
            }
            program(gateway.conditions.get_or_insert_default(), "the Gateway is in service");
        }
        let (first, behind) = (Kind::Filter as i32, Kind::Filter as i32 + 1);
        let of_filters = self.links.iter_from(|key| key.kind < first);
        let of_filters = of_filters.take_while(|(key, _)| key.kind < behind);
        let used = of_filters.flat_map(|(_, links)| links).filter_map(|link| match link {
            Link::Filter(name) => Some(name),
            _ => None,
        });
        for name in used {
            if let Some(filter) = self.wasm_filters.get_mut(name) {
                program(&mut filter.conditions, "the filter is in service");
            }
        }
    }

    /// The filter as it is now is refused, and its last good generation serves on.
    fn keep(&mut self, filter: &Name, reason: &str, message: &str) {
        let Some(status) = self.wasm_filters.get_mut(filter) else { return };
        let conditions = &mut status.conditions;
        replace(conditions, types::ACCEPTED, Truth::False, reason, message);
        let serves = reasons::LAST_GOOD_SERVES;
        replace(conditions, types::PROGRAMMED, Truth::False, serves, message);
    }

    fn refuse(&mut self, kind: Kind, link: &Link, reason: &str, message: &str) {
        match link {
            Link::Gateway(name) => {
                let Some(gateway) = self.gateways.get_mut(name) else { return };
                for listener in gateway.listeners.iter_mut().flatten() {
                    unprogram(&mut listener.conditions, message);
                }
                unprogram(gateway.conditions.get_or_insert_default(), message);
            }
            Link::Listener(name, section) => {
                let gateway = self.gateways.get_mut(name);
                let mut listeners =
                    gateway.into_iter().flat_map(|g| g.listeners.iter_mut().flatten());
                if let Some(listener) = listeners.find(|l| l.name == *section) {
                    refuse_listener(kind, listener, reason, message);
                }
            }
            Link::Route(name, parent) => {
                let route = self.http_routes.get_mut(name);
                if let Some(parent) = route.and_then(|route| route.parents.get_mut(*parent)) {
                    refuse_route(kind, &mut parent.conditions, message);
                }
            }
            Link::Filter(name) => {
                if let Some(filter) = self.wasm_filters.get_mut(name) {
                    unprogram(&mut filter.conditions, message);
                    // The configuration of a filter is checked by nodes as well.
                    replace(&mut filter.conditions, types::ACCEPTED, Truth::False, reason, message);
                }
            }
        }
    }
}

/// A port that another program has is a matter of the listener's acceptance, a certificate one of
/// its references.
fn refuse_listener(kind: Kind, listener: &mut GatewayStatusListeners, reason: &str, message: &str) {
    let conditions = &mut listener.conditions;
    unprogram(conditions, message);
    if reason == reasons::PORT_UNAVAILABLE {
        replace(conditions, types::ACCEPTED, Truth::False, reason, message);
    }
    let reason = match kind {
        Kind::Certificate => reasons::INVALID_CERTIFICATE_REF,
        Kind::Filter | Kind::TlsBinding => reasons::INVALID_FILTER,
        _ => return,
    };
    replace(conditions, types::RESOLVED_REFS, Truth::False, reason, message);
}

fn refuse_route(kind: Kind, conditions: &mut Vec<Condition>, message: &str) {
    if kind == Kind::Rule {
        let message = format!("Dropped Rule: {message}");
        let reason = reasons::UNSUPPORTED_VALUE;
        replace(conditions, types::PARTIALLY_INVALID, Truth::True, reason, &message);
    } else {
        let reason = reasons::INVALID_FILTER;
        replace(conditions, types::RESOLVED_REFS, Truth::False, reason, message);
    }
}

/// A Gateway is programmed when one of its listeners is.
fn settle(gateway: &mut GatewayStatus) {
    let conditions = gateway.conditions.get_or_insert_default();
    let mut listeners = gateway.listeners.iter().flatten();
    if is_true(conditions, types::PROGRAMMED)
        && !listeners.any(|l| is_true(&l.conditions, types::PROGRAMMED))
    {
        unprogram(conditions, "no listener is in service");
    }
}

/// Whatever waits for the nodes is now in service.
fn program(conditions: &mut [Condition], message: &str) {
    let waiting = |c: &&mut Condition| c.type_ == types::PROGRAMMED && c.reason == reasons::PENDING;
    if let Some(condition) = conditions.iter_mut().find(waiting) {
        condition.status = "True".to_owned();
        condition.reason = reasons::PROGRAMMED.to_owned();
        condition.message = message.to_owned();
    }
}

fn unprogram(conditions: &mut Vec<Condition>, message: &str) {
    replace(conditions, types::PROGRAMMED, Truth::False, reasons::INVALID, message);
}
