//! The sum of all shares, kept while they change one by one.

use crate::backend::Backend;
use crate::share::Share;
use crate::status::{Link, Links};
use crate::wasm_filter::Filters;
use crate::{Index, Name, endpoints};
use penstock_config::{self as config, Key, Kind, ResourceKind, State, Versioned};
use std::collections::{BTreeMap, BTreeSet};

/// What all contributors have together.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) state: State,
    pub(crate) links: Links,
    /// How many use a filter.
    filters: BTreeMap<Name, usize>,
    /// Backends that are in use, by key.
    backends: BTreeMap<String, Used>,
    /// Their keys by their Service.
    of_service: BTreeMap<Name, BTreeSet<String>>,
    /// What has to be looked at before the state is whole again.
    filters_to_do: BTreeSet<Name>,
    backends_to_do: BTreeSet<String>,
}

#[derive(Debug)]
struct Used {
    backend: Backend,
    by: usize,
}

impl Ledger {
    /// Puts one share in the place of another of the same contributor.
    pub(crate) fn exchange(&mut self, old: &Share, new: &Share) {
        for key in old.resources.keys().filter(|key| !new.resources.contains_key(*key)) {
            self.state.remove(key);
        }
        for (key, resource) in &new.resources {
            if old.resources.get(key).is_none_or(|old| old.version != resource.version) {
                self.state.put(resource.clone());
            }
        }
        old.links.difference(&new.links).for_each(|(key, link)| self.unlink(key, link));
        new.links.difference(&old.links).for_each(|(key, link)| self.link(key, link));
        old.filters.difference(&new.filters).for_each(|name| self.release_filter(name));
        new.filters.difference(&old.filters).for_each(|name| self.use_filter(name));
        for (key, backend) in &new.backends {
            self.use_backend(key, backend);
        }
        for key in old.backends.keys() {
            self.release_backend(key);
        }
    }

    /// Filters that come to something else than before.
    pub(crate) fn filters_changed(&mut self, names: impl IntoIterator<Item = Name>) {
        self.filters_to_do.extend(names);
    }

    /// A Service or one of its EndpointSlices changed.
    pub(crate) fn service_changed(&mut self, service: &Name) {
        let backends = self.of_service.get(service);
        self.backends_to_do.extend(backends.into_iter().flatten().cloned());
    }

    /// Brings the filters and backends of the state to what is used and known by now.
    pub(crate) fn settle(&mut self, index: &Index, filters: &Filters) {
        for name in std::mem::take(&mut self.filters_to_do) {
            let key = Key::new(Kind::Filter, name.to_string());
            let used = self.filters.contains_key(&name);
            let link = Link::Filter(name.clone());
            match filters.get(&name) {
                Some(Ok(filter)) if used => {
                    self.state.insert(ResourceKind::Filter(filter.clone()));
                    self.link(&key, &link);
                }
                _ => {
                    self.state.remove(&key);
                    self.unlink(&key, &link);
                }
            }
        }
        for name in std::mem::take(&mut self.backends_to_do) {
            match self.backends.get(&name) {
                Some(used) => {
                    let protocol = used.backend.protocol as i32;
                    let endpoints = endpoints::translate(index, &used.backend);
                    self.put(ResourceKind::Backend(config::Backend { name, protocol }));
                    self.put(ResourceKind::Endpoints(endpoints));
                }
                None => {
                    self.state.remove(&Key::new(Kind::Backend, &name));
                    self.state.remove(&Key::new(Kind::Endpoints, name));
                }
            }
        }
    }

    fn put(&mut self, resource: ResourceKind) {
        let resource = Versioned::from(resource);
        let known = self.state.get(&resource.key);
        if known.is_none_or(|known| known.version != resource.version) {
            self.state.put(resource);
        }
    }

    fn link(&mut self, key: &Key, link: &Link) {
        match self.links.get_mut(key) {
            Some(links) => {
                links.insert(link.clone());
            }
            None => {
                self.links.insert(key.clone(), BTreeSet::from([link.clone()]));
            }
        }
    }

    fn unlink(&mut self, key: &Key, link: &Link) {
        let Some(links) = self.links.get_mut(key) else { return };
        links.remove(link);
        if links.is_empty() {
            self.links.remove(key);
        }
    }

    fn use_filter(&mut self, name: &Name) {
        let uses = self.filters.entry(name.clone()).or_default();
        *uses += 1;
        if *uses == 1 {
            self.filters_to_do.insert(name.clone());
        }
    }

    fn release_filter(&mut self, name: &Name) {
        let Some(uses) = self.filters.get_mut(name) else { return };
        *uses -= 1;
        if *uses == 0 {
            self.filters.remove(name);
            self.filters_to_do.insert(name.clone());
        }
    }

    fn use_backend(&mut self, key: &str, backend: &Backend) {
        if let Some(used) = self.backends.get_mut(key) {
            used.by += 1;
            if used.backend != *backend {
                used.backend = backend.clone();
                self.backends_to_do.insert(key.to_owned());
            }
            return;
        }
        let used = Used { backend: backend.clone(), by: 1 };
        self.backends.insert(key.to_owned(), used);
        self.of_service.entry(backend.service.clone()).or_default().insert(key.to_owned());
        self.backends_to_do.insert(key.to_owned());
    }

    fn release_backend(&mut self, key: &str) {
        let Some(used) = self.backends.get_mut(key) else { return };
        used.by -= 1;
        if used.by > 0 {
            return;
        }
        let service = used.backend.service.clone();
        self.backends.remove(key);
        self.backends_to_do.insert(key.to_owned());
        if let Some(keys) = self.of_service.get_mut(&service) {
            keys.remove(key);
            if keys.is_empty() {
                self.of_service.remove(&service);
            }
        }
    }
}
