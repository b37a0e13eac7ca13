//! Which kinds are known completely.

use penstock_resources::{KINDS, Kind, ObjectId};
use std::collections::{BTreeMap, BTreeSet};

/// Whether objects of a kind exist in every cluster, without a definition that somebody installs.
pub fn is_built_in(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Service | Kind::EndpointSlice | Kind::Secret | Kind::ConfigMap | Kind::Namespace
    )
}

/// What of each kind is there, and which lists are under way.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// `None` until the definitions are known.
    installed: Option<BTreeSet<Kind>>,
    present: BTreeMap<Kind, BTreeSet<ObjectId>>,
    running: BTreeMap<Kind, BTreeSet<ObjectId>>,
    done: BTreeSet<Kind>,
    complete: bool,
}

impl Listing {
    /// Notes which definitions are installed. Returns the objects that are gone with theirs.
    pub(crate) fn definitions(&mut self, installed: BTreeSet<Kind>) -> BTreeSet<ObjectId> {
        let mut gone = BTreeSet::new();
        for kind in KINDS.into_iter().filter(|kind| !is_built_in(*kind)) {
            if !installed.contains(&kind) {
                gone.extend(self.present.remove(&kind).unwrap_or_default());
                self.running.remove(&kind);
                self.done.remove(&kind);
            }
        }
        self.installed = Some(installed);
        gone
    }

    /// Whether objects of a kind can be there: not when its definition went.
    pub(crate) fn is_watched(&self, kind: Kind) -> bool {
        is_built_in(kind) || self.installed.as_ref().is_none_or(|i| i.contains(&kind))
    }

    /// A list begins.
    pub(crate) fn begin(&mut self, kind: Kind) {
        self.running.insert(kind, BTreeSet::new());
    }

    /// An object is there. One that a running list names twice is the sign that it began anew.
    pub(crate) fn present(&mut self, id: &ObjectId, listed: bool) {
        if let Some(running) = self.running.get_mut(&id.kind) {
            if listed && running.contains(id) {
                running.clear();
            }
            running.insert(id.clone());
        } else if listed {
            self.running.insert(id.kind, BTreeSet::from([id.clone()]));
        }
        self.present.entry(id.kind).or_default().insert(id.clone());
    }

    /// An object is gone.
    pub(crate) fn absent(&mut self, id: &ObjectId) {
        if let Some(present) = self.present.get_mut(&id.kind) {
            present.remove(id);
        }
        if let Some(running) = self.running.get_mut(&id.kind) {
            running.remove(id);
        }
    }

    /// A list ends. Returns the objects that it did not name.
    pub(crate) fn end(&mut self, kind: Kind) -> BTreeSet<ObjectId> {
        let named = self.running.remove(&kind).unwrap_or_default();
        let before = self.present.insert(kind, named);
        self.done.insert(kind);
        let named = &self.present[&kind];
        before.into_iter().flatten().filter(|id| !named.contains(id)).collect()
    }

    /// The kinds whose first list is not complete. Once there was none, there is none for ever: a kind
    /// that is installed later comes on top of what is known.
    pub(crate) fn waiting_for(&mut self) -> Vec<Kind> {
        if self.complete {
            return Vec::new();
        }
        let waiting: Vec<Kind> =
            KINDS.into_iter().filter(|k| self.is_watched(*k) && !self.done.contains(k)).collect();
        self.complete = waiting.is_empty();
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str) -> ObjectId {
        ObjectId { kind: Kind::HttpRoute, namespace: "n".into(), name: name.into() }
    }

    fn set(names: &[&str]) -> BTreeSet<ObjectId> {
        names.iter().map(|name| route(name)).collect()
    }

    #[test]
    fn what_a_list_does_not_name_is_gone() {
        let mut listing = Listing::default();
        ["a", "b", "c"].iter().for_each(|name| listing.present(&route(name), true));
        assert_eq!(listing.end(Kind::HttpRoute), set(&[]));
        listing.begin(Kind::HttpRoute);
        listing.present(&route("b"), true);
        listing.present(&route("d"), false);
        assert_eq!(listing.end(Kind::HttpRoute), set(&["a", "c"]));
        listing.absent(&route("b"));
        listing.present(&route("d"), true);
        assert_eq!(listing.end(Kind::HttpRoute), set(&[]), "b was known to be gone");
    }

    #[test]
    fn a_list_that_breaks_off_and_begins_anew_counts_from_the_new_beginning() {
        let mut listing = Listing::default();
        ["a", "b"].iter().for_each(|name| listing.present(&route(name), true));
        // The connection broke, b was deleted, and the list began anew.
        ["a", "c"].iter().for_each(|name| listing.present(&route(name), true));
        assert_eq!(listing.end(Kind::HttpRoute), set(&["b"]));
    }

    #[test]
    fn nothing_is_known_before_the_lists_of_all_installed_kinds_are_complete() {
        let mut listing = Listing::default();
        let built_in: Vec<Kind> = KINDS.into_iter().filter(|kind| is_built_in(*kind)).collect();
        for kind in &built_in {
            listing.end(*kind);
        }
        assert_eq!(listing.waiting_for().len(), KINDS.len() - built_in.len());
        listing.definitions(BTreeSet::from([Kind::Gateway]));
        assert_eq!(listing.waiting_for(), [Kind::Gateway]);
        listing.end(Kind::Gateway);
        assert_eq!(listing.waiting_for(), []);
        listing.definitions(BTreeSet::from([Kind::Gateway, Kind::HttpRoute]));
        assert_eq!(listing.waiting_for(), [], "a kind that is installed later stops nothing");
    }

    #[test]
    fn objects_go_with_the_definition_of_their_kind() {
        let mut listing = Listing::default();
        listing.definitions(BTreeSet::from([Kind::HttpRoute]));
        listing.present(&route("a"), true);
        listing.end(Kind::HttpRoute);
        assert_eq!(listing.definitions(BTreeSet::new()), set(&["a"]));
        assert_eq!(listing.definitions(BTreeSet::new()), set(&[]));
    }
}
