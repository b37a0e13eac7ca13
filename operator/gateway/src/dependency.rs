//! What the translation of a route reads, so that it can be taken again while none of it changed.

use crate::index::service_of;
use crate::{Index, Name};
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use penstock_config::SharedMap;
use penstock_resources::gateway_api::{Gateway, HttpRoute, ReferenceGrant};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Something that the translation of a route reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dependency {
    /// A Gateway, also one that does not exist or is another controller's.
    Gateway(Name),
    /// What a WasmFilter comes to.
    Filter(Name),
    /// A Service without its endpoints.
    Service(Name),
    /// The ReferenceGrants of a namespace.
    Grants(String),
    /// A Namespace.
    Namespace(String),
}

/// All that a route reads besides itself. What it names in vain is part of it.
pub(crate) fn of_route(name: &Name, route: &HttpRoute) -> BTreeSet<Dependency> {
    let own = name.namespace.as_str();
    let mut found = BTreeSet::from([Dependency::Namespace(own.to_owned())]);
    let here = |namespace: Option<&String>, name: &str| {
        Name::new(namespace.map_or(own, String::as_str), name)
    };
    for parent in route.spec.parent_refs.iter().flatten() {
        found.insert(Dependency::Gateway(here(parent.namespace.as_ref(), &parent.name)));
    }
    for rule in route.spec.rules.iter().flatten() {
        let filters = rule.filters.iter().flatten().filter_map(|f| f.extension_ref.as_ref());
        found.extend(filters.map(|filter| Dependency::Filter(here(None, &filter.name))));
        for backend in rule.backend_refs.iter().flatten() {
            let service = here(backend.namespace.as_ref(), &backend.name);
            if service.namespace != own {
                found.insert(Dependency::Grants(service.namespace.clone()));
            }
            found.insert(Dependency::Service(service));
            let filters = backend.filters.iter().flatten();
            let filters = filters.filter_map(|filter| filter.extension_ref.as_ref());
            found.extend(filters.map(|filter| Dependency::Filter(here(None, &filter.name))));
        }
    }
    found
}

/// Which routes read something.
#[derive(Debug, Default)]
pub(crate) struct Readers(BTreeMap<Dependency, BTreeSet<Name>>);

impl Readers {
    /// Notes what a route reads now, and what it read before.
    pub(crate) fn exchange(
        &mut self,
        route: &Name,
        old: &BTreeSet<Dependency>,
        new: &BTreeSet<Dependency>,
    ) {
        for gone in old.difference(new) {
            if let Some(readers) = self.0.get_mut(gone) {
                readers.remove(route);
                if readers.is_empty() {
                    self.0.remove(gone);
                }
            }
        }
        for new in new.difference(old) {
            self.0.entry(new.clone()).or_default().insert(route.clone());
        }
    }

    /// The routes that read something.
    pub(crate) fn of(&self, dependency: &Dependency) -> impl Iterator<Item = &Name> {
        self.0.get(dependency).into_iter().flatten()
    }
}

/// The objects of an index as they were at some time.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    gateways: SharedMap<Name, Arc<Gateway>>,
    routes: SharedMap<Name, Arc<HttpRoute>>,
    grants: SharedMap<Name, Arc<ReferenceGrant>>,
    services: SharedMap<Name, Arc<Service>>,
    slices: SharedMap<Name, Arc<EndpointSlice>>,
    namespaces: SharedMap<Name, Arc<Namespace>>,
}

/// What changed between two times.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Routes that came, changed or went.
    pub(crate) routes: BTreeSet<Name>,
    /// Objects other than filters that routes may read.
    pub(crate) read: BTreeSet<Dependency>,
    /// Services with other EndpointSlices.
    pub(crate) endpoints: BTreeSet<Name>,
}

impl Seen {
    /// Looks at an index again.
    pub(crate) fn look(&mut self, index: &Index) -> Changes {
        let mut changes =
            Changes { routes: changed(&self.routes, &index.routes), ..Changes::default() };
        let read = &mut changes.read;
        read.extend(changed(&self.gateways, &index.gateways).into_iter().map(Dependency::Gateway));
        read.extend(changed(&self.services, &index.services).into_iter().map(Dependency::Service));
        let namespace = |name: Name| Dependency::Grants(name.namespace);
        read.extend(changed(&self.grants, &index.grants).into_iter().map(namespace));
        let name = |name: Name| Dependency::Namespace(name.name);
        read.extend(changed(&self.namespaces, &index.namespaces).into_iter().map(name));
        for difference in self.slices.differences(&index.slices, Arc::ptr_eq) {
            let slices = [difference.old, difference.new].into_iter().flatten();
            changes.endpoints.extend(slices.filter_map(|slice| service_of(slice, difference.key)));
        }
        *self = Seen {
            gateways: index.gateways.clone(),
            routes: index.routes.clone(),
            grants: index.grants.clone(),
            services: index.services.clone(),
            slices: index.slices.clone(),
            namespaces: index.namespaces.clone(),
        };
        changes
    }
}

fn changed<T>(old: &SharedMap<Name, Arc<T>>, new: &SharedMap<Name, Arc<T>>) -> BTreeSet<Name> {
    old.differences(new, Arc::ptr_eq).into_iter().map(|d| d.key.clone()).collect()
}
