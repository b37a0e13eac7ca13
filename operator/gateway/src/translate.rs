//! From the index to configuration and statuses.

use crate::backend::Backend;
use crate::endpoints;
use crate::gateway::{self, GatewayView};
use crate::gateway_class::Classes;
use crate::http_route::{self, RouteView};
use crate::infrastructure::Infrastructure;
use crate::listener_policy::ListenerPolicies;
use crate::status::{Link, Statuses};
use crate::tls_policy::{self, Binding};
use crate::wasm_filter::Filters;
use crate::{Index, Mode, Name};
use k8s_openapi::api::core::v1::Service;
use penstock_config::{
    self as config, Key, Kind, ResourceKind, Rule, State, Step, StepAction, TlsBinding,
};
use std::collections::{BTreeMap, BTreeSet};

/// What an index comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Translation {
    /// What nodes are told.
    pub state: State,
    /// What users are told, as far as objects tell.
    pub statuses: Statuses,
    /// The Services that bring clients to the proxies, in a cluster: one for each Gateway, in the
    /// namespace of the proxies ([`crate::Settings::namespace`]), all that there should be. A
    /// Service whose address comes from a pool has a `status` to write as well.
    pub services: BTreeMap<Name, Service>,
}

/// Translates everything that is known. A filter or a backend is in the state when something that
/// is served uses it.
pub fn translate(index: &Index) -> Translation {
    let classes = Classes::new(index);
    let filters = Filters::new(index);
    let policies = ListenerPolicies::new(index, &filters);
    let infrastructure = match index.settings().mode {
        Mode::Standalone => Infrastructure::default(),
        Mode::Cluster => Infrastructure::new(index, classes.gateways(index)),
    };
    let mut gateways = gateway::translate(index, &classes, &policies, &infrastructure);
    let mut routes = http_route::translate(index, &filters, &mut gateways);
    let bindings = tls_policy::bind(&mut routes, &gateways);

    let mut out = Output {
        index,
        filters: &filters,
        infrastructure: &infrastructure,
        listeners: BTreeMap::new(),
        bound: BTreeMap::new(),
        translation: Translation::default(),
    };
    gateways.values().for_each(|gateway| out.gateway(gateway));
    bindings.into_iter().for_each(|binding| out.binding(binding));
    routes.iter().for_each(|route| out.route(route));

    let mut translation = out.translation;
    let services = gateways.values().map(|g| infrastructure.service(&g.name, g.is_refused()));
    translation.services = services.flatten().collect();
    let statuses = &mut translation.statuses;
    statuses.gateway_classes = classes.statuses(index);
    statuses.gateways = by_name(gateways.values(), |g| (g.name.clone(), g.status()));
    statuses.load_balancer_pools = infrastructure.pools.clone();
    statuses.http_routes = by_name(&routes, |r| (r.name.clone(), r.status()));
    let used = translation.state.iter().filter(|r| r.key.kind() == Kind::Filter);
    let used: BTreeSet<String> = used.map(|r| r.key.name.clone()).collect();
    statuses.wasm_filters = filters.statuses(index, |name| policies.refused(name), &used);
    translation
}

fn by_name<T, S>(
    views: impl IntoIterator<Item = T>,
    status: impl Fn(T) -> (Name, S),
) -> BTreeMap<Name, S> {
    views.into_iter().map(status).collect()
}

/// Collects resources, and for each of them whose status speaks of it.
struct Output<'a> {
    index: &'a Index,
    filters: &'a Filters,
    infrastructure: &'a Infrastructure<'a>,
    /// The status of each listener, by its key.
    listeners: BTreeMap<String, Link>,
    /// For each route the bindings that it asked for: listener and key.
    bound: BTreeMap<Name, Vec<(String, Key)>>,
    translation: Translation,
}

impl Output<'_> {
    fn put(&mut self, resource: ResourceKind, link: Link) {
        self.link(resource.key(), link);
        self.translation.state.insert(resource);
    }

    fn link(&mut self, key: Key, link: Link) {
        self.translation.statuses.link(key, link);
    }

    fn gateway(&mut self, view: &GatewayView<'_>) {
        let Some(resource) = view.resource.clone().filter(|_| view.is_served()) else { return };
        self.put(ResourceKind::Gateway(resource), Link::Gateway(view.name.clone()));
        for listener in view.listeners.iter().filter(|listener| listener.served) {
            let link = Link::Listener(view.name.clone(), listener.spec.name.clone());
            for certificate in &listener.certificates {
                let resource = ResourceKind::Certificate(certificate.resource.clone());
                self.put(resource, link.clone());
            }
            self.listeners.insert(listener.key.clone(), link.clone());
            let resource = listener.resource(&view.name);
            if let Some(frontend) = self.infrastructure.frontend(&view.name, resource.port) {
                self.put(ResourceKind::Frontend(frontend), link.clone());
            }
            self.put(ResourceKind::Listener(resource), link);
        }
    }

    fn binding(&mut self, binding: Binding) {
        let resource = ResourceKind::TlsBinding(binding.resource);
        let key = resource.key();
        let ResourceKind::TlsBinding(TlsBinding { listener, .. }) = &resource else { return };
        if let Some(link) = self.listeners.get(listener).cloned() {
            binding.own.iter().for_each(|filter| self.filter(filter, &link));
            if !binding.own.is_empty() {
                self.link(key.clone(), link);
            }
        }
        for route in binding.routes {
            self.bound.entry(route).or_default().push((listener.clone(), key.clone()));
        }
        self.translation.state.insert(resource);
    }

    fn route(&mut self, view: &RouteView<'_>) {
        let reach = view.reach();
        for (listener, key) in self.bound.remove(&view.name).unwrap_or_default() {
            for (parent, _) in reach.iter().filter(|(_, keys)| keys.contains(listener.as_str())) {
                self.link(key.clone(), Link::Route(view.name.clone(), *parent));
            }
        }
        for rule_view in &view.rules {
            let Some(rule) = &rule_view.rule else { continue };
            if rule.attachments.is_empty() {
                continue;
            }
            let resource = ResourceKind::Rule(rule.clone());
            let here = |keys: &BTreeSet<&str>| {
                rule.attachments.iter().any(|a| keys.contains(a.listener.as_str()))
            };
            for (parent, _) in reach.iter().filter(|(_, keys)| here(keys)) {
                let link = Link::Route(view.name.clone(), *parent);
                policies(rule).for_each(|filter| self.filter(filter, &link));
                self.link(resource.key(), link);
            }
            self.translation.state.insert(resource);
            rule_view.backends.iter().for_each(|backend| self.backend(backend));
        }
    }

    fn backend(&mut self, backend: &Backend) {
        let name = backend.key();
        if self.translation.state.get(&Key::new(Kind::Backend, &name)).is_some() {
            return;
        }
        let resource = config::Backend { name, protocol: backend.protocol as i32 };
        let endpoints = endpoints::translate(self.index, backend);
        self.translation.state.insert(ResourceKind::Backend(resource));
        self.translation.state.insert(ResourceKind::Endpoints(endpoints));
    }

    /// A filter that something uses.
    fn filter(&mut self, key: &str, user: &Link) {
        let Some((namespace, name)) = key.split_once('/') else { return };
        let name = Name::new(namespace, name);
        if let Some(Ok(filter)) = self.filters.get(&name) {
            self.put(ResourceKind::Filter(filter.clone()), Link::Filter(name));
            self.link(Key::new(Kind::Filter, key), user.clone());
        }
    }
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
