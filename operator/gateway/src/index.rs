//! Everything that is known: objects, and what was found out about modules.

use crate::announcers::Announcers;
use crate::last_good::LastGood;
use crate::{Confirmation, FilterFacts, Name};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use penstock_config::{self as config, Filter, ResourceKind, SharedMap, State};
use penstock_resources::gateway_api::{
    BUNDLE_VERSION, Gateway, GatewayClass, HttpRoute, ReferenceGrant,
};
use penstock_resources::{GatewayConfig, Kind, LoadBalancerPool, Object, ObjectId, WasmFilter};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Label of an EndpointSlice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Namespace that Penstock is installed in unless somebody chooses another.
const NAMESPACE: &str = "penstock-system";

/// In which surroundings objects are translated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// `penstock run`: all Gateways share the ports of one machine, a Service of type ExternalName
    /// is served, and nobody else looks after the objects, so that references to a Gateway or
    /// GatewayClass that does not exist are reported.
    #[default]
    Standalone,
    /// The operator: each Gateway has addresses of its own, other controllers are at work.
    Cluster,
}

/// What the translation cannot read from objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The surroundings.
    pub mode: Mode,
    /// The time in seconds since 1970, against which certificates are checked; `None`: validity
    /// periods are not looked at.
    pub now: Option<i64>,
    /// Release of the Gateway API whose schemas are in force (`v1.6.1`), as the annotation
    /// `gateway.networking.k8s.io/bundle-version` of the CRDs says; `None` where it is missing.
    pub bundle_version: Option<String>,
    /// Addresses at which the gateways are reached (standalone).
    pub addresses: Vec<IpAddr>,
    /// Namespace of the proxies and of the Services that lead to them (cluster).
    pub namespace: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            now: None,
            bundle_version: Some(BUNDLE_VERSION.to_owned()),
            addresses: Vec::new(),
            namespace: NAMESPACE.to_owned(),
        }
    }
}

/// Everything that is known. Equal content gives equal translations, in whatever order it came.
#[derive(Clone, Default)]
pub struct Index {
    settings: Settings,
    pub(crate) classes: BTreeMap<String, Box<GatewayClass>>,
    pub(crate) gateways: SharedMap<Name, Arc<Gateway>>,
    pub(crate) routes: SharedMap<Name, Arc<HttpRoute>>,
    pub(crate) grants: SharedMap<Name, Arc<ReferenceGrant>>,
    pub(crate) services: SharedMap<Name, Arc<Service>>,
    pub(crate) slices: SharedMap<Name, Arc<EndpointSlice>>,
    pub(crate) secrets: BTreeMap<Name, Box<Secret>>,
    pub(crate) config_maps: BTreeMap<Name, Box<ConfigMap>>,
    pub(crate) namespaces: SharedMap<Name, Arc<Namespace>>,
    pub(crate) filters: BTreeMap<Name, Box<WasmFilter>>,
    pub(crate) configs: BTreeMap<Name, Box<GatewayConfig>>,
    pub(crate) pools: BTreeMap<String, Box<LoadBalancerPool>>,
    slices_of: BTreeMap<Name, BTreeSet<Name>>,
    announcers: Announcers,
    assumed: BTreeMap<Name, Service>,
    facts: BTreeMap<Name, FilterFacts>,
    last_good: BTreeMap<Name, LastGood>,
}

/// Counts alone: the index holds secrets.
impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("settings", &self.settings)
            .field("gateways", &self.gateways.len())
            .field("routes", &self.routes.len())
            .field("services", &self.services.len())
            .field("filters", &self.filters.len())
            .finish_non_exhaustive()
    }
}

impl Index {
    /// An empty index.
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The settings, to change them.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Takes in an object, new or changed. Says whether anything changed.
    ///
    /// A `WasmFilter` with another `spec` loses the facts that were known about it: apply it first,
    /// then set its facts. One that was deleted and made again is another filter.
    pub fn apply(&mut self, object: Object) -> bool {
        let id = object.id();
        let name = Name::new(id.namespace, id.name);
        match object {
            Object::GatewayClass(o) => put(&mut self.classes, name.name, o),
            Object::Gateway(o) => share(&mut self.gateways, name, o),
            Object::HttpRoute(o) => share(&mut self.routes, name, o),
            Object::ReferenceGrant(o) => share(&mut self.grants, name, o),
            Object::Service(o) => share(&mut self.services, name, o),
            Object::EndpointSlice(o) => {
                self.unlink_slice(&name);
                if let Some(service) = service_of(&o, &name) {
                    self.slices_of.entry(service).or_default().insert(name.clone());
                }
                share(&mut self.slices, name, o)
            }
            Object::Secret(o) => put(&mut self.secrets, name, o),
            Object::ConfigMap(o) => put(&mut self.config_maps, name, o),
            Object::Namespace(o) => share(&mut self.namespaces, name, o),
            Object::WasmFilter(o) => {
                let old = self.filters.get(&name);
                if old.is_some_and(|old| old.metadata.uid != o.metadata.uid) {
                    self.facts.remove(&name);
                    self.last_good.remove(&name);
                } else if old.is_some_and(|old| old.spec != o.spec) {
                    self.facts.remove(&name);
                }
                put(&mut self.filters, name, o)
            }
            Object::GatewayConfig(o) => put(&mut self.configs, name, o),
            Object::LoadBalancerPool(o) => put(&mut self.pools, name.name, o),
        }
    }

    /// Takes out an object. Says whether it was there.
    pub fn remove(&mut self, id: &ObjectId) -> bool {
        let name = Name::new(&id.namespace, &id.name);
        match id.kind {
            Kind::GatewayClass => self.classes.remove(&name.name).is_some(),
            Kind::Gateway => self.gateways.remove(&name).is_some(),
            Kind::HttpRoute => self.routes.remove(&name).is_some(),
            Kind::ReferenceGrant => self.grants.remove(&name).is_some(),
            Kind::Service => self.services.remove(&name).is_some(),
            Kind::EndpointSlice => {
                self.unlink_slice(&name);
                self.slices.remove(&name).is_some()
            }
            Kind::Secret => self.secrets.remove(&name).is_some(),
            Kind::ConfigMap => self.config_maps.remove(&name).is_some(),
            Kind::Namespace => self.namespaces.remove(&name).is_some(),
            Kind::WasmFilter => {
                self.facts.remove(&name);
                self.last_good.remove(&name);
                self.filters.remove(&name).is_some()
            }
            Kind::GatewayConfig => self.configs.remove(&name).is_some(),
            Kind::LoadBalancerPool => self.pools.remove(&name.name).is_some(),
        }
    }

    /// Says what was found out about a `WasmFilter`, by its `namespace/name`. Says whether anything
    /// changed; facts about a filter that the index does not hold are dropped.
    pub fn set_filter_facts(&mut self, namespace_name: &str, facts: FilterFacts) -> bool {
        let Some((namespace, name)) = namespace_name.split_once('/') else { return false };
        let name = Name::new(namespace, name);
        if !self.filters.contains_key(&name) || self.facts.get(&name) == Some(&facts) {
            return false;
        }
        self.facts.insert(name, facts);
        true
    }

    /// Says that nodes serve this generation of a filter: it is the last good one from now on, and
    /// serves on while a later one is refused, until the `WasmFilter` is deleted. Whoever starts
    /// anew begins with what the nodes report. Says whether anything changed.
    pub fn set_last_good(&mut self, filter: &Filter) -> bool {
        let Some((namespace, name)) = filter.name.split_once('/') else { return false };
        let name = Name::new(namespace, name);
        if !self.filters.contains_key(&name) {
            return false;
        }
        let known = self.last_good.get(&name);
        let summary = match self.facts.get(&name) {
            Some(FilterFacts::Ready { digest, summary, .. }) if *digest == filter.module => {
                Some(summary.clone())
            }
            _ => known.filter(|k| k.filter.module == filter.module).and_then(|k| k.summary.clone()),
        };
        let last_good = LastGood { filter: filter.clone(), summary };
        let changed = known != Some(&last_good);
        self.last_good.insert(name, last_good);
        changed
    }

    /// Notes what nodes serve from now on: every filter of an acknowledged configuration that they did
    /// not refuse is the last good one, see [`Index::set_last_good`].
    pub fn confirm(&mut self, state: &State, confirmation: &Confirmation) {
        if !confirmation.acknowledged {
            return;
        }
        for resource in state.of_kind(config::Kind::Filter) {
            let refused = || confirmation.refused.iter().any(|(key, ..)| *key == resource.key);
            if let ResourceKind::Filter(filter) = &*resource.content
                && !refused()
            {
                self.set_last_good(filter);
            }
        }
    }

    /// Digests of the modules of last good generations, which are needed as long as those serve.
    pub fn last_good_modules(&self) -> impl Iterator<Item = &str> {
        self.last_good.values().map(|last| last.filter.module.as_str())
    }

    /// Says which nodes can announce addresses, those whose agent and whose proxy are ready, and whether
    /// all others are known not to be: before that, whoever announces an address goes on. Says
    /// whether anything changed.
    pub fn set_nodes(&mut self, ready: BTreeSet<String>, complete: bool) -> bool {
        let nodes = Announcers { ready, complete };
        let changed = self.announcers != nodes;
        self.announcers = nodes;
        changed
    }

    /// Says which Services are being made. What was decided by them stays decided until they are seen:
    /// between the two, an address or a port that becomes free would go to another Gateway than the
    /// one that it was just given to.
    pub fn assume(&mut self, services: BTreeMap<Name, Service>) {
        self.assumed = services;
    }

    /// A Service that is being made, or there already.
    pub(crate) fn assumed(&self, name: &Name) -> Option<&Service> {
        self.assumed.get(name)
    }

    /// The nodes that can announce addresses.
    pub(crate) fn announcers(&self) -> &Announcers {
        &self.announcers
    }

    /// All `WasmFilter`s.
    pub fn filters(&self) -> impl Iterator<Item = &WasmFilter> {
        self.filters.values().map(Box::as_ref)
    }

    /// A ConfigMap, where a module may be.
    pub fn config_map(&self, namespace: &str, name: &str) -> Option<&ConfigMap> {
        self.config_maps.get(&Name::new(namespace, name)).map(Box::as_ref)
    }

    /// All Services, as they were last seen.
    pub fn services(&self) -> impl Iterator<Item = (&Name, &Service)> {
        self.services.iter().map(|(name, service)| (name, &**service))
    }

    /// What is known about a filter.
    pub(crate) fn facts(&self, filter: &Name) -> Option<&FilterFacts> {
        self.facts.get(filter)
    }

    /// The generation of a filter that nodes confirmed last.
    pub(crate) fn last_good(&self, filter: &Name) -> Option<&LastGood> {
        self.last_good.get(filter)
    }

    /// A Namespace.
    pub(crate) fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.get(&Name::new("", name)).map(Arc::as_ref)
    }

    /// The ReferenceGrants of a namespace.
    pub(crate) fn grants_in<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a ReferenceGrant> {
        self.grants
            .iter_from(move |name| *name.namespace < *namespace)
            .take_while(move |(name, _)| name.namespace == namespace)
            .map(|(_, grant)| grant.as_ref())
    }

    /// The EndpointSlices of a Service.
    pub(crate) fn slices_of(&self, service: &Name) -> impl Iterator<Item = &EndpointSlice> {
        let names = self.slices_of.get(service).into_iter().flatten();
        names.filter_map(|name| self.slices.get(name)).map(Arc::as_ref)
    }

    fn unlink_slice(&mut self, slice: &Name) {
        let Some(old) = self.slices.get(slice) else { return };
        let Some(service) = service_of(old, slice) else { return };
        if let Some(names) = self.slices_of.get_mut(&service) {
            names.remove(slice);
            if names.is_empty() {
                self.slices_of.remove(&service);
            }
        }
    }
}

fn put<K: Ord, T: PartialEq>(map: &mut BTreeMap<K, Box<T>>, key: K, object: Box<T>) -> bool {
    let changed = map.get(&key) != Some(&object);
    map.insert(key, object);
    changed
}

/// One that is equal stays: whoever shares it sees that nothing changed.
fn share<T: PartialEq>(map: &mut SharedMap<Name, Arc<T>>, key: Name, object: Box<T>) -> bool {
    let changed = map.get(&key).is_none_or(|known| **known != *object);
    if changed {
        map.insert(key, Arc::from(object));
    }
    changed
}

pub(crate) fn service_of(slice: &EndpointSlice, name: &Name) -> Option<Name> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some(Name::new(&name.namespace, service))
}
