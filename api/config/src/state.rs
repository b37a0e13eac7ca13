//! A whole configuration, its versions and its changes.

use crate::{
    Backend, Certificate, Endpoints, Filter, Frontend, Gateway, Key, Kind, Listener, Rule,
    TlsBinding,
};
use prost::Message;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// One resource, as it travels.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Resource {
    /// The content; always present in a valid message.
    #[prost(oneof = "ResourceKind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    pub kind: Option<ResourceKind>,
}

/// The content of a resource.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ResourceKind {
    /// See [`Gateway`].
    #[prost(message, tag = "1")]
    Gateway(Gateway),
    /// See [`Certificate`].
    #[prost(message, tag = "2")]
    Certificate(Certificate),
    /// See [`Listener`].
    #[prost(message, tag = "3")]
    Listener(Listener),
    /// See [`Filter`].
    #[prost(message, tag = "4")]
    Filter(Filter),
    /// See [`TlsBinding`].
    #[prost(message, tag = "5")]
    TlsBinding(TlsBinding),
    /// See [`Backend`].
    #[prost(message, tag = "6")]
    Backend(Backend),
    /// See [`Endpoints`].
    #[prost(message, tag = "7")]
    Endpoints(Endpoints),
    /// See [`Rule`].
    #[prost(message, tag = "8")]
    Rule(Rule),
    /// See [`Frontend`].
    #[prost(message, tag = "9")]
    Frontend(Frontend),
}

impl ResourceKind {
    /// The key under which the resource is kept.
    pub fn key(&self) -> Key {
        match self {
            ResourceKind::Gateway(r) => Key::new(Kind::Gateway, &r.name),
            ResourceKind::Certificate(r) => Key::new(Kind::Certificate, &r.name),
            ResourceKind::Listener(r) => {
                Key::new(Kind::Listener, format!("{}/{}", r.gateway, r.section))
            }
            ResourceKind::Filter(r) => Key::new(Kind::Filter, &r.name),
            ResourceKind::TlsBinding(r) => {
                Key::new(Kind::TlsBinding, format!("{}|{}", r.listener, r.hostname))
            }
            ResourceKind::Backend(r) => Key::new(Kind::Backend, &r.name),
            ResourceKind::Endpoints(r) => Key::new(Kind::Endpoints, &r.backend),
            ResourceKind::Rule(r) => Key::new(Kind::Rule, format!("{}/{}", r.route, r.id)),
            ResourceKind::Frontend(r) => {
                Key::new(Kind::Frontend, format!("{}|{}", r.gateway, r.port))
            }
        }
    }
}

/// A hash of a resource's content: the first 16 bytes of SHA-256 over its canonical encoding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub [u8; 16]);

impl Version {
    /// The version of a content.
    pub fn of(kind: &ResourceKind) -> Self {
        Self::of_bytes(&Resource { kind: Some(kind.clone()) }.encode_to_vec())
    }

    /// The version of a whole configuration, from the keys in order and their versions: equal
    /// configurations have equal versions on every replica.
    pub fn of_all<'a>(resources: impl IntoIterator<Item = (&'a Key, &'a Version)>) -> Self {
        let mut hash = Sha256::new();
        for (key, version) in resources {
            hash.update(key.encode_length_delimited_to_vec());
            hash.update(version.0);
        }
        Self::of_digest(&hash.finalize())
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        Self::of_digest(&Sha256::digest(bytes))
    }

    fn of_digest(digest: &[u8]) -> Self {
        let mut version = [0; 16];
        version.copy_from_slice(&digest[..16]);
        Self(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A resource with its key and version. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned {
    /// What it is.
    pub key: Key,
    /// Hash of the content.
    pub version: Version,
    /// The content.
    pub content: Arc<ResourceKind>,
}

impl From<ResourceKind> for Versioned {
    fn from(content: ResourceKind) -> Self {
        Self { key: content.key(), version: Version::of(&content), content: Arc::new(content) }
    }
}

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

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    resources: BTreeMap<Key, Versioned>,
}

impl State {
    /// Puts a resource in, in place of one with the same key.
    pub fn insert(&mut self, content: ResourceKind) {
        let resource = Versioned::from(content);
        self.resources.insert(resource.key.clone(), resource);
    }

    /// All resources, parents first.
    pub fn iter(&self) -> impl Iterator<Item = &Versioned> {
        self.resources.values()
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
        Version::of_all(self.resources.iter().map(|(key, resource)| (key, &resource.version)))
    }

    /// What leads from `self` to `next`. Walks both once, in the order of the keys.
    pub fn diff(&self, next: &State) -> Delta {
        let mut delta = Delta::default();
        let mut old = self.resources.values().peekable();
        for new in next.resources.values() {
            while let Some(gone) = old.next_if(|old| old.key < new.key) {
                delta.removals.push(gone.key.clone());
            }
            let before = old.next_if(|old| old.key == new.key);
            if before.is_none_or(|before| before.version != new.version) {
                delta.upserts.push(new.clone());
            }
        }
        delta.removals.extend(old.map(|gone| gone.key.clone()));
        delta.removals.reverse();
        delta
    }

    /// Applies a delta as a whole, in time that depends on the delta: only where a parent is removed
    /// is all of the state looked at.
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
        delta.upserts.iter().try_for_each(|resource| self.check_parents(resource))?;
        let gone = |key: &Key| has_children(key.kind()) && !self.resources.contains_key(key);
        if delta.removals.iter().any(gone) {
            self.resources.values().try_for_each(|resource| self.check_parents(resource))?;
        }
        Ok(())
    }

    fn check_parents(&self, resource: &Versioned) -> Result<(), ApplyError> {
        let missing = parents(&resource.content);
        let missing = missing.into_iter().find(|parent| !self.resources.contains_key(parent));
        match missing {
            Some(parent) => Err(ApplyError::MissingParent { child: resource.key.clone(), parent }),
            None => Ok(()),
        }
    }
}

impl FromIterator<ResourceKind> for State {
    fn from_iter<T: IntoIterator<Item = ResourceKind>>(iter: T) -> Self {
        let mut state = State::default();
        iter.into_iter().for_each(|r| state.insert(r));
        state
    }
}

/// Whether [`parents`] may name one of this kind.
fn has_children(kind: Kind) -> bool {
    match kind {
        Kind::Gateway | Kind::Certificate | Kind::Listener | Kind::Filter | Kind::Backend => true,
        Kind::TlsBinding | Kind::Endpoints | Kind::Rule | Kind::Frontend => false,
    }
}

/// The resources that one refers to. What is named here is in [`has_children`].
fn parents(content: &ResourceKind) -> Vec<Key> {
    use crate::StepAction;
    fn policies(steps: &[crate::Step]) -> impl Iterator<Item = Key> + '_ {
        steps.iter().filter_map(|s| match &s.action {
            Some(StepAction::Policy(name)) => Some(Key::new(Kind::Filter, name)),
            _ => None,
        })
    }
    match content {
        ResourceKind::Gateway(_)
        | ResourceKind::Certificate(_)
        | ResourceKind::Filter(_)
        | ResourceKind::Backend(_) => Vec::new(),
        ResourceKind::Listener(r) => std::iter::once(Key::new(Kind::Gateway, &r.gateway))
            .chain(r.certificates.iter().map(|c| Key::new(Kind::Certificate, c)))
            .collect(),
        ResourceKind::TlsBinding(r) => std::iter::once(Key::new(Kind::Listener, &r.listener))
            .chain(r.filters.iter().map(|f| Key::new(Kind::Filter, f)))
            .collect(),
        ResourceKind::Endpoints(r) => vec![Key::new(Kind::Backend, &r.backend)],
        ResourceKind::Frontend(r) => vec![Key::new(Kind::Gateway, &r.gateway)],
        ResourceKind::Rule(r) => {
            let mut keys: Vec<Key> =
                r.attachments.iter().map(|a| Key::new(Kind::Listener, &a.listener)).collect();
            keys.extend(policies(&r.filters));
            keys.extend(r.tls_filters.iter().map(|f| Key::new(Kind::Filter, f)));
            for choice in &r.backends {
                keys.extend(policies(&choice.filters));
                if choice.failure.is_none() {
                    keys.push(Key::new(Kind::Backend, &choice.backend));
                }
            }
            keys
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_rule_refers_to_its_listeners_filters_and_the_backends_that_are_there() {
        let policy =
            |name: &str| crate::Step { action: Some(crate::StepAction::Policy(name.into())) };
        let failed = crate::Step { action: Some(crate::StepAction::Failure(Default::default())) };
        let choice = crate::BackendChoice {
            backend: "n/b:80".into(),
            filters: vec![policy("n/c")],
            ..Default::default()
        };
        let key = |kind, name: &str| Key::new(kind, name);
        let rule_of = |choice| rule(vec![failed.clone(), policy("n/a")], choice);
        let mut wanted = vec![
            key(Kind::Listener, "n/gw/http"),
            key(Kind::Filter, "n/a"),
            key(Kind::Filter, "n/tls"),
            key(Kind::Filter, "n/c"),
            key(Kind::Backend, "n/b:80"),
        ];
        assert_eq!(parents(&rule_of(choice.clone())), wanted);
        let failed = crate::BackendChoice { failure: Some(Default::default()), ..choice };
        wanted.pop();
        assert_eq!(parents(&rule_of(failed)), wanted, "one that answers 500 needs no backend");
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
