//! Interfaces that nobody needs any more: made by this cluster, attached to nothing.

use crate::time::Time;
use penstock_config::address::InterfaceId;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// An interface that is attached to nothing and has this cluster's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loose {
    /// Which.
    pub id: InterfaceId,
    /// The instance that it was made for, by its tag.
    pub instance: String,
}

/// Which interfaces leaked.
#[derive(Clone, Debug, Default)]
pub struct Leaks {
    since: BTreeMap<InterfaceId, Time>,
}

impl Leaks {
    /// Takes in which interfaces are loose now, and says which are to be deleted: those that were
    /// loose for as long as `grace` and whose instance is none of the nodes. A node brings its own ones
    /// to an end itself. Only interfaces with this cluster's tags may be named: two clusters in one
    /// VPC never collect each other's.
    pub fn observe(
        &mut self,
        loose: &[Loose],
        nodes: &BTreeSet<String>,
        grace: Duration,
        now: Time,
    ) -> Vec<InterfaceId> {
        let orphans = || loose.iter().filter(|loose| !nodes.contains(&loose.instance));
        let mut before = std::mem::take(&mut self.since);
        self.since = orphans()
            .map(|loose| (loose.id.clone(), before.remove(&loose.id).unwrap_or(now)))
            .collect();
        let old = self.since.iter().filter(|(_, since)| now - **since >= grace);
        old.map(|(id, _)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_loose_for_the_whole_grace_and_belongs_to_no_node_is_collected() {
        let loose = |id: &str, instance: &str| Loose { id: id.into(), instance: instance.into() };
        let (mut leaks, grace) = (Leaks::default(), Duration::from_secs(300));
        let nodes = ["i-1".to_owned()].into();
        let at = |secs| Time(0) + Duration::from_secs(secs);
        let both = [loose("eni-1", "i-1"), loose("eni-2", "i-2")];
        assert_eq!(leaks.observe(&both, &nodes, grace, at(0)), []);
        assert_eq!(leaks.observe(&both, &nodes, grace, at(299)), []);
        assert_eq!(leaks.observe(&both, &nodes, grace, at(300)), ["eni-2".into()]);
        assert_eq!(leaks.observe(&[], &nodes, grace, at(301)), []);
        assert_eq!(leaks.observe(&both, &nodes, grace, at(400)), [], "it was gone in between");
    }
}
