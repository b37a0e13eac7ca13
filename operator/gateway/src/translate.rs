//! From the index to configuration and statuses.

use crate::dependency::{self, Dependency, Readers, Seen};
use crate::gateway::{self, GatewayView};
use crate::gateway_class::Classes;
use crate::http_route::{self, RouteView};
use crate::infrastructure::Infrastructure;
use crate::ledger::Ledger;
use crate::listener_policy::ListenerPolicies;
use crate::share::{self, Bound, Share};
use crate::status::Statuses;
use crate::tls_policy;
use crate::wasm_filter::Filters;
use crate::{Index, Mode, Name};
use k8s_openapi::api::core::v1::Service;
use penstock_config::{Kind, SharedMap, State};
use penstock_resources::gateway_api::httproutes::HttpRouteStatus;
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
    Translator::default().translate(index)
}

/// Translates one index again and again. What a route came to is remembered, and taken again while
/// neither the route nor anything that it read has changed: the result is that of [`translate`], in
/// time that depends on what changed, and on the number of Gateways and filters.
#[derive(Debug, Default)]
pub struct Translator {
    mode: Mode,
    seen: Seen,
    filters: Filters,
    gateways: BTreeMap<Name, AsParent>,
    /// The share of the Gateways.
    of_gateways: Share,
    /// The share of the TLS bindings.
    of_bindings: Share,
    routes: BTreeMap<Name, Remembered>,
    readers: Readers,
    /// Routes with TLS policies: these look at each other.
    tls: BTreeSet<Name>,
    /// How many routes are accepted for a listener, by its key.
    attached: BTreeMap<String, usize>,
    statuses: SharedMap<Name, HttpRouteStatus>,
    ledger: Ledger,
}

/// What a route sees of a Gateway besides the object: for each listener whether it is served, and
/// its TLS policies.
type AsParent = Vec<(bool, Vec<String>)>;

/// What a route came to.
#[derive(Debug, Default)]
struct Remembered {
    read: BTreeSet<Dependency>,
    share: Share,
    /// Keys of the listeners that it is accepted for.
    attached: BTreeSet<String>,
}

/// What routes are translated with.
struct Surroundings<'a, 'i> {
    index: &'i Index,
    filters: &'a Filters,
    gateways: &'a BTreeMap<Name, GatewayView<'i>>,
}

impl Translator {
    /// Translates everything that is known of an index: the same one each time.
    pub fn translate(&mut self, index: &Index) -> Translation {
        if self.mode != index.settings().mode {
            *self = Self { mode: index.settings().mode, ..Self::default() };
        }
        let classes = Classes::new(index);
        let filters = Filters::new(index);
        let policies = ListenerPolicies::new(index, &filters);
        let infrastructure = match index.settings().mode {
            Mode::Standalone => Infrastructure::default(),
            Mode::Cluster => Infrastructure::new(index, classes.gateways(index)),
        };
        let gateways = gateway::translate(index, &classes, &policies, &infrastructure);
        let mut share = Share::default();
        gateways.values().for_each(|gateway| share.gateway(gateway, &infrastructure));
        self.ledger.exchange(&self.of_gateways, &share);
        self.of_gateways = share;
        self.routes(&Surroundings { index, filters: &filters, gateways: &gateways });
        self.ledger.settle(index, &filters);

        let services = gateways.values().map(|g| infrastructure.service(&g.name, g.is_refused()));
        let used = self.ledger.state.of_kind(Kind::Filter);
        let used: BTreeSet<String> = used.map(|r| r.key.name.clone()).collect();
        let statuses = Statuses {
            gateway_classes: classes.statuses(index),
            gateways: gateways
                .values()
                .map(|gateway| (gateway.name.clone(), gateway.status(&self.attached)))
                .collect(),
            http_routes: self.statuses.clone(),
            wasm_filters: filters.statuses(index, |name| policies.refused(name), &used),
            load_balancer_pools: infrastructure.pools.clone(),
            links: self.ledger.links.clone(),
        };
        self.filters = filters;
        let state = self.ledger.state.clone();
        Translation { state, statuses, services: services.flatten().collect() }
    }

    /// Translates the routes that may come to something else than before.
    fn routes(&mut self, around: &Surroundings<'_, '_>) {
        let mut changes = self.seen.look(around.index);
        let filters = self.filters.changed(around.filters);
        let gateways = self.parents_changed(around.gateways, &changes.read);
        changes.read.extend(filters.iter().cloned().map(Dependency::Filter));
        changes.read.extend(gateways.iter().cloned().map(Dependency::Gateway));
        let readers = changes.read.iter().flat_map(|dependency| self.readers.of(dependency));
        let mut dirty = changes.routes;
        dirty.extend(readers.cloned());

        let mut views = around.views(&dirty);
        let rebind = !gateways.is_empty()
            || dirty.iter().any(|route| self.tls.contains(route))
            || views.iter().any(RouteView::has_tls);
        let mut bound = Bound::new();
        if rebind {
            let others = self.tls.difference(&dirty).cloned().collect();
            views.extend(around.views(&others));
            dirty.extend(others);
            let tls = views.iter().filter(|view| view.has_tls());
            self.tls = tls.map(|view| view.name.clone()).collect();
            let bindings = tls_policy::bind(&mut views, around.gateways);
            let (share, asked) = share::of_bindings(around.filters, around.gateways, bindings);
            self.ledger.exchange(&self.of_bindings, &share);
            (self.of_bindings, bound) = (share, asked);
        }
        let mut views: BTreeMap<Name, RouteView<'_>> =
            views.into_iter().map(|view| (view.name.clone(), view)).collect();
        for name in dirty {
            let bound = bound.remove(&name).unwrap_or_default();
            self.route(around, &name, views.remove(&name), &bound);
        }
        self.ledger.filters_changed(filters);
        for dependency in &changes.read {
            if let Dependency::Service(service) = dependency {
                self.ledger.service_changed(service);
            }
        }
        changes.endpoints.iter().for_each(|service| self.ledger.service_changed(service));
    }

    /// Notes what a route comes to now.
    fn route(
        &mut self,
        around: &Surroundings<'_, '_>,
        name: &Name,
        view: Option<RouteView<'_>>,
        bound: &[(String, penstock_config::Key)],
    ) {
        let old = self.routes.remove(name).unwrap_or_default();
        let mut new = Remembered::default();
        if let Some(view) = view {
            self.statuses.insert(name.clone(), view.status());
            new.share = Share::of_route(around.filters, &view, bound);
            new.attached = view.attached;
        } else {
            self.statuses.remove(name);
        }
        let route = around.index.routes.get(name);
        if let Some(route) = route {
            new.read = dependency::of_route(name, route);
        }
        self.readers.exchange(name, &old.read, &new.read);
        self.ledger.exchange(&old.share, &new.share);
        for key in old.attached.difference(&new.attached) {
            if let Some(count) = self.attached.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.attached.remove(key);
                }
            }
        }
        for key in new.attached.difference(&old.attached) {
            *self.attached.entry(key.clone()).or_default() += 1;
        }
        if route.is_some() {
            self.routes.insert(name.clone(), new);
        }
    }

    /// The Gateways of which routes see something else than before.
    fn parents_changed(
        &mut self,
        gateways: &BTreeMap<Name, GatewayView<'_>>,
        objects: &BTreeSet<Dependency>,
    ) -> BTreeSet<Name> {
        let new: BTreeMap<Name, AsParent> =
            gateways.values().map(|view| (view.name.clone(), as_parent(view))).collect();
        let old = std::mem::replace(&mut self.gateways, new);
        let object = |name: &Name| objects.contains(&Dependency::Gateway(name.clone()));
        let names = old.keys().chain(self.gateways.keys());
        let changed = |name: &&Name| old.get(*name) != self.gateways.get(*name) || object(name);
        names.filter(changed).cloned().collect()
    }
}

impl<'i> Surroundings<'_, 'i> {
    /// Those of some routes that name a Gateway of ours.
    fn views(&self, names: &BTreeSet<Name>) -> Vec<RouteView<'i>> {
        let routes = names.iter().filter_map(|name| self.index.routes.get(name).map(|r| (name, r)));
        let routes = routes.map(|(name, route)| (name, route.as_ref()));
        http_route::translate(self.index, self.filters, self.gateways, routes)
    }
}

fn as_parent(view: &GatewayView<'_>) -> AsParent {
    view.listeners.iter().map(|l| (l.served, l.policies.clone())).collect()
}
