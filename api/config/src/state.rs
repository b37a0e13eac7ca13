//! A whole configuration and its changes.

use crate::{
    Key, Kind,
    parents::{Parent, has_children, parents},
    resource::{ResourceKind, Version, Versioned, sum_of},
    shared_map::SharedMap,
};
use std::collections::HashSet;

/// The change from one state to another. Upserts are sorted parents first, removals children first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// New or changed resources.
    pub upserts: Vec<Versioned>,
    /// Resources that are gone.
    pub removals: Vec<Key>,
}

impl Delta {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.removals.is_empty()
    }
}

/// Why a delta does not fit a state. Nothing of it was applied.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApplyError {
    /// A resource points up to a parent that does not exist.
    #[error("{child} refers to {parent}, which does not exist")]
    MissingParent {
        /// Who refers.
        child: Key,
        /// What is missing.
        parent: Key,
    },
}

/// A whole configuration. Copies share what they have in common: a copy, a change, the version and
/// the difference of two copies take time that depends on what changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    resources: SharedMap<Key, Versioned>,
}

impl State {
    /// Puts a resource in, in place of one with the same key.
    pub fn insert(&mut self, content: ResourceKind) {
        self.put(Versioned::from(content));
    }

    /// The same, of one whose version is known.
    pub fn put(&mut self, resource: Versioned) {
        self.resources.insert(resource.key.clone(), resource);
    }

    /// Takes a resource out, whatever refers to it.
    pub fn remove(&mut self, key: &Key) -> Option<Versioned> {
        self.resources.remove(key)
    }

    /// All resources, parents first.
    pub fn iter(&self) -> impl Iterator<Item = &Versioned> {
        self.resources.values()
    }

    /// The resources of one kind, in the order of their keys.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Versioned> {
        let kind = kind as i32;
        let resources = self.resources.iter_from(move |key| key.kind < kind);
        resources.map(|(_, resource)| resource).take_while(move |r| r.key.kind == kind)
    }

    /// One resource.
    pub fn get(&self, key: &Key) -> Option<&Versioned> {
        self.resources.get(key)
    }

    /// How many resources there are.
    pub fn len(&self) -> usize {
        self.resources.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// See [`Version::of_all`].
    pub fn version(&self) -> Version {
        let of_chunk = |chunk: &[(Key, Versioned)]| {
            sum_of(chunk.iter().map(|(key, resource)| (key, &resource.version)))
        };
        Version::of_sums(self.resources.sums(of_chunk))
    }

    /// What leads from `self` to `next`.
    pub fn diff(&self, next: &State) -> Delta {
        let mut delta = Delta::default();
        let same = |old: &Versioned, new: &Versioned| old.version == new.version;
        for difference in self.resources.differences(&next.resources, same) {
            match difference.new {
                Some(new) => delta.upserts.push(new.clone()),
                None => delta.removals.push(difference.key.clone()),
            }
        }
        delta.removals.reverse();
        delta
    }

    /// Applies a delta as a whole, in time that depends on the delta: only where a parent is removed
    /// is all of the state looked through.
    ///
    /// # Errors
    /// [`ApplyError::MissingParent`] where a resource of the delta has no parent in the result, or one
    /// that the state has loses its parent; `self` is then unchanged.
    pub fn apply(&mut self, delta: &Delta) -> Result<(), ApplyError> {
        let mut before = Vec::with_capacity(delta.removals.len() + delta.upserts.len());
        for key in &delta.removals {
            before.push((key, self.resources.remove(key)));
        }
        for resource in &delta.upserts {
            let key = &resource.key;
            before.push((key, self.resources.insert(key.clone(), resource.clone())));
        }
        let checked = self.check(delta);
        if checked.is_err() {
            for (key, resource) in before.into_iter().rev() {
                match resource {
                    Some(resource) => self.resources.insert(key.clone(), resource),
                    None => self.resources.remove(key),
                };
            }
        }
        checked
    }

    fn check(&self, delta: &Delta) -> Result<(), ApplyError> {
        for resource in &delta.upserts {
            let is_missing = |parent: &Parent<'_>| !self.resources.contains_key(&parent.key());
            missing(resource, is_missing)?;
        }
        let is_gone = |key: &&Key| has_children(key.kind()) && !self.resources.contains_key(*key);
        let gone: Vec<&Key> = delta.removals.iter().filter(is_gone).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let gone: HashSet<Parent<'_>> = gone.into_iter().map(Parent::from).collect();
        let mut resources = self.resources.values();
        resources.try_for_each(|resource| missing(resource, |parent| gone.contains(parent)))
    }
}

/// # Errors
/// Names the first parent of a resource that is missing.
fn missing(
    resource: &Versioned,
    is_missing: impl Fn(&Parent<'_>) -> bool,
) -> Result<(), ApplyError> {
    match parents(&resource.content).iter().find(|parent| is_missing(parent)) {
        Some(parent) => {
            Err(ApplyError::MissingParent { child: resource.key.clone(), parent: parent.key() })
        }
        None => Ok(()),
    }
}

impl FromIterator<ResourceKind> for State {
    fn from_iter<T: IntoIterator<Item = ResourceKind>>(iter: T) -> Self {
        let mut state = State::default();
        iter.into_iter().for_each(|r| state.insert(r));
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Backend, Certificate, Endpoints, Filter, Frontend, Gateway, Listener, Rule, TlsBinding,
    };

    fn backend(name: &str) -> ResourceKind {
        ResourceKind::Backend(Backend { name: name.into(), protocol: 0 })
    }

    fn endpoints(name: &str, port: u32) -> ResourceKind {
        ResourceKind::Endpoints(Endpoints {
            backend: name.into(),
            endpoints: vec![crate::Endpoint { host: "10.0.0.1".into(), port }],
        })
    }

    #[test]
    fn a_diff_applied_to_the_old_state_gives_the_new_one() {
        let old: State =
            [backend("a:80"), endpoints("a:80", 1), backend("b:80")].into_iter().collect();
        let new: State =
            [backend("a:80"), endpoints("a:80", 2), backend("c:80")].into_iter().collect();
        let delta = old.diff(&new);
        assert_eq!(delta.upserts.len(), 2, "only what changed travels");
        assert_eq!(delta.removals, vec![Key::new(Kind::Backend, "b:80")]);
        let mut applied = old.clone();
        applied.apply(&delta).expect("the delta fits");
        assert_eq!(applied, new);
        assert_eq!(applied.version(), new.version());
        assert!(new.diff(&applied).is_empty());
    }

    #[test]
    fn a_delta_that_leaves_an_orphan_is_refused_as_a_whole() {
        let mut state: State = [backend("a:80"), endpoints("a:80", 1)].into_iter().collect();
        let before = state.clone();
        let delta = Delta {
            upserts: vec![Versioned::from(backend("b:80"))],
            removals: vec![Key::new(Kind::Backend, "a:80")],
        };
        let error = state.apply(&delta).expect_err("endpoints a:80 would be an orphan");
        assert_eq!(
            error.to_string(),
            "endpoints a:80 refers to backend a:80, which does not exist"
        );
        assert_eq!(state, before);
    }

    /// A resource that has all kinds of parents, directly or not, and those.
    fn family() -> State {
        let listener = Listener {
            gateway: "n/gw".into(),
            section: "http".into(),
            certificates: vec!["n/cert".into()],
            ..Default::default()
        };
        let named = |name: &str| Filter { name: name.into(), ..Default::default() };
        let choice = crate::BackendChoice { backend: "n/b:80".into(), ..Default::default() };
        let binding = TlsBinding {
            listener: "n/gw/http".into(),
            filters: vec!["n/tls".into()],
            ..Default::default()
        };
        State::from_iter([
            ResourceKind::Gateway(Gateway { name: "n/gw".into(), ..Default::default() }),
            ResourceKind::Certificate(Certificate { name: "n/cert".into(), ..Default::default() }),
            ResourceKind::Listener(listener),
            ResourceKind::Filter(named("n/tls")),
            ResourceKind::TlsBinding(binding),
            backend("n/b:80"),
            endpoints("n/b:80", 1),
            rule(Vec::new(), choice),
        ])
    }

    #[test]
    fn each_part_of_a_family_can_be_changed_and_no_parent_can_be_removed() {
        let family = family();
        let mut orphaned = 0;
        for resource in family.iter() {
            let mut state = family.clone();
            let removals = vec![resource.key.clone()];
            let change = Delta { upserts: vec![resource.clone()], removals: removals.clone() };
            assert_eq!(state.apply(&change), Ok(()), "{} comes back at once", resource.key);
            assert_eq!(state, family);
            let removed = state.apply(&Delta { upserts: Vec::new(), removals });
            if removed.is_err() {
                orphaned += 1;
                assert_eq!(state, family, "nothing of it was applied");
            }
        }
        assert_eq!(orphaned, 5, "gateway, certificate, listener, filter, backend");
    }

    #[test]
    fn any_state_leads_to_any_other() {
        let ports = |n: u32| (0..5).map(move |i| (n / 3_u32.pow(i)) % 3);
        let state = |n| {
            let used = ports(n).enumerate().filter(|(_, port)| *port != 0);
            let pair = |(i, port): (usize, u32)| {
                let name = format!("n/b{i}:80");
                [backend(&name), endpoints(&name, port)]
            };
            used.flat_map(pair).collect::<State>()
        };
        for (from, to) in (0..243).flat_map(|from| (0..243).map(move |to| (from, to))) {
            let (mut old, new) = (state(from), state(to));
            let delta = old.diff(&new);
            assert!(delta.upserts.is_sorted_by_key(|resource| &resource.key), "parents first");
            assert!(delta.removals.iter().rev().is_sorted(), "children first");
            old.apply(&delta).expect("it fits");
            assert_eq!(old, new);
        }
    }

    #[test]
    fn a_version_depends_on_content_alone() {
        assert_eq!(Version::of(&backend("a:80")), Version::of(&backend("a:80")));
        assert_ne!(Version::of(&endpoints("a:80", 1)), Version::of(&endpoints("a:80", 2)));
    }

    #[test]
    fn a_version_is_written_in_hexadecimal() {
        let version = Version([0x0a; 16]);
        assert_eq!(version.to_string(), "0a".repeat(16));
        assert_eq!(format!("{version:?}"), version.to_string());
    }

    fn rule(filters: Vec<crate::Step>, choice: crate::BackendChoice) -> ResourceKind {
        ResourceKind::Rule(Rule {
            route: "n/r".into(),
            id: "0".into(),
            filters,
            tls_filters: vec!["n/tls".into()],
            attachments: vec![crate::Attachment {
                listener: "n/gw/http".into(),
                ..Default::default()
            }],
            backends: vec![choice],
            ..Rule::default()
        })
    }

    #[test]
    fn a_frontend_is_a_port_of_its_gateway() {
        let frontend = ResourceKind::Frontend(Frontend {
            gateway: "n/gw".into(),
            port: 443,
            target_port: 20_000,
            ..Frontend::default()
        });
        assert_eq!(frontend.key().to_string(), "frontend n/gw|443");
        let mut state = State::default();
        let delta = state.diff(&State::from_iter([frontend.clone()]));
        assert!(state.apply(&delta).is_err(), "its Gateway is missing");
        let gateway = ResourceKind::Gateway(Gateway { name: "n/gw".into(), ..Gateway::default() });
        let delta = state.diff(&State::from_iter([frontend, gateway]));
        assert_eq!(state.apply(&delta), Ok(()));
    }

    #[test]
    fn a_delta_is_empty_where_nothing_comes_and_nothing_goes() {
        let (empty, full) = (State::default(), State::from_iter([backend("a:80")]));
        assert!(full.diff(&full).is_empty());
        assert!(!empty.diff(&full).is_empty(), "something comes");
        assert!(!full.diff(&empty).is_empty(), "something goes");
    }

    #[test]
    fn a_state_shows_what_is_in_it_parents_first() {
        let mut state = State::default();
        assert!(state.is_empty() && state.iter().next().is_none());
        let key = Key::new(Kind::Backend, "a:80");
        assert_eq!(state.get(&key), None);
        state.insert(endpoints("a:80", 1));
        state.insert(backend("a:80"));
        state.insert(endpoints("a:80", 2));
        assert_eq!((state.len(), state.is_empty()), (2, false));
        let found: Vec<_> = state.iter().map(|resource| (*resource.content).clone()).collect();
        assert_eq!(found, [backend("a:80"), endpoints("a:80", 2)]);
        assert_eq!(state.get(&key).map(|found| &*found.content), Some(&backend("a:80")));
    }
}
