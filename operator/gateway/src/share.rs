//! What one contributor (a route, the Gateways, the TLS bindings) has in the translation.

use crate::Name;
use crate::backend::Backend;
use crate::gateway::GatewayView;
use crate::http_route::RouteView;
use crate::infrastructure::Infrastructure;
use crate::status::Link;
use crate::tls_policy::Binding;
use crate::wasm_filter::Filters;
use penstock_config::{Key, Kind, ResourceKind, Rule, Step, StepAction, Versioned};
use std::collections::{BTreeMap, BTreeSet};

/// Resources of its own, what it uses together with others, and what statuses say of them.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// Its own resources, each of which no other contributor has.
    pub(crate) resources: BTreeMap<Key, Versioned>,
    /// Which of its statuses speak of a resource.
    pub(crate) links: BTreeSet<(Key, Link)>,
    /// The filters that it uses.
    pub(crate) filters: BTreeSet<Name>,
    /// The backends that it uses, by key.
    pub(crate) backends: BTreeMap<String, Backend>,
}

/// For each route the bindings that it asked for: listener and key.
pub(crate) type Bound = BTreeMap<Name, Vec<(String, Key)>>;

/// The status of each listener that is served, by its key.
type Listeners = BTreeMap<String, Link>;

impl Share {
    fn put(&mut self, resource: ResourceKind) -> Key {
        let resource = Versioned::from(resource);
        let key = resource.key.clone();
        self.resources.insert(key.clone(), resource);
        key
    }

    fn link(&mut self, key: Key, link: Link) {
        self.links.insert((key, link));
    }

    /// A filter that can be served and that a status speaks of.
    fn filter(&mut self, filters: &Filters, key: &str, user: &Link) {
        let Some((namespace, name)) = key.split_once('/') else { return };
        let name = Name::new(namespace, name);
        if let Some(Ok(_)) = filters.get(&name) {
            self.filters.insert(name);
            self.link(Key::new(Kind::Filter, key), user.clone());
        }
    }

    /// Adds what a Gateway has.
    pub(crate) fn gateway(&mut self, view: &GatewayView<'_>, infrastructure: &Infrastructure<'_>) {
        let Some(resource) = view.resource.clone().filter(|_| view.is_served()) else { return };
        let key = self.put(ResourceKind::Gateway(resource));
        self.link(key, Link::Gateway(view.name.clone()));
        for listener in view.listeners.iter().filter(|listener| listener.served) {
            let link = Link::Listener(view.name.clone(), listener.spec.name.clone());
            for certificate in &listener.certificates {
                let key = self.put(ResourceKind::Certificate(certificate.resource.clone()));
                self.link(key, link.clone());
            }
            let resource = listener.resource(&view.name);
            if let Some(frontend) = infrastructure.frontend(&view.name, resource.port) {
                let key = self.put(ResourceKind::Frontend(frontend));
                self.link(key, link.clone());
            }
            let key = self.put(ResourceKind::Listener(resource));
            self.link(key, link);
        }
    }

    /// Adds a TLS binding.
    fn binding(&mut self, filters: &Filters, listeners: &Listeners, binding: &Binding) -> Key {
        let key = self.put(ResourceKind::TlsBinding(binding.resource.clone()));
        if let Some(link) = listeners.get(&binding.resource.listener) {
            binding.own.iter().for_each(|filter| self.filter(filters, filter, link));
            if !binding.own.is_empty() {
                self.link(key.clone(), link.clone());
            }
        }
        key
    }

    /// What a route has. `bound`: the bindings that it asked for.
    pub(crate) fn of_route(
        filters: &Filters,
        view: &RouteView<'_>,
        bound: &[(String, Key)],
    ) -> Self {
        let mut share = Share::default();
        let reach = view.reach();
        for (listener, key) in bound {
            for (parent, _) in reach.iter().filter(|(_, keys)| keys.contains(listener.as_str())) {
                share.link(key.clone(), Link::Route(view.name.clone(), *parent));
            }
        }
        for rule_view in &view.rules {
            let Some(rule) = &rule_view.rule else { continue };
            if rule.attachments.is_empty() {
                continue;
            }
            let key = share.put(ResourceKind::Rule(rule.clone()));
            let here = |keys: &BTreeSet<&str>| {
                rule.attachments.iter().any(|a| keys.contains(a.listener.as_str()))
            };
            for (parent, _) in reach.iter().filter(|(_, keys)| here(keys)) {
                let link = Link::Route(view.name.clone(), *parent);
                policies(rule).for_each(|filter| share.filter(filters, filter, &link));
                share.link(key.clone(), link);
            }
            let backends = rule_view.backends.iter();
            share.backends.extend(backends.map(|backend| (backend.key(), backend.clone())));
        }
        share
    }
}

/// What TLS bindings have, and whose they are.
pub(crate) fn of_bindings(
    filters: &Filters,
    gateways: &BTreeMap<Name, GatewayView<'_>>,
    bindings: Vec<Binding>,
) -> (Share, Bound) {
    let views = gateways.values().filter(|view| view.resource.is_some());
    let served = views.flat_map(|view| {
        let listeners = view.listeners.iter().filter(|listener| listener.served);
        listeners.map(|listener| {
            let link = Link::Listener(view.name.clone(), listener.spec.name.clone());
            (listener.key.clone(), link)
        })
    });
    let listeners: Listeners = served.collect();
    let (mut share, mut bound) = (Share::default(), Bound::new());
    for binding in bindings {
        let key = share.binding(filters, &listeners, &binding);
        for route in binding.routes {
            let listener = binding.resource.listener.clone();
            bound.entry(route).or_default().push((listener, key.clone()));
        }
    }
    (share, bound)
}

/// The keys of all filters that a rule uses.
fn policies(rule: &Rule) -> impl Iterator<Item = &str> {
    let steps = rule.filters.iter().chain(rule.backends.iter().flat_map(|b| &b.filters));
    let steps = steps.filter_map(|step: &Step| match &step.action {
        Some(StepAction::Policy(filter)) => Some(filter.as_str()),
        _ => None,
    });
    steps.chain(rule.tls_filters.iter().map(String::as_str))
}
