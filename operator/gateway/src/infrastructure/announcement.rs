//! Which node announces the addresses of a Gateway.

use crate::Name;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// The node that announces a Gateway's addresses: the one with the highest hash of both names
/// (rendezvous hashing), so that a node that goes or comes moves no Gateway but its own.
pub(super) fn announcer<'n>(gateway: &Name, nodes: &'n BTreeSet<String>) -> Option<&'n str> {
    let weight = |node: &&String| Sha256::digest(format!("{node}\0{gateway}"));
    nodes.iter().max_by_key(weight).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_node_that_goes_moves_no_gateway_but_its_own() {
        let nodes: BTreeSet<String> = (0..5).map(|n| format!("node-{n}")).collect();
        let gateways: Vec<Name> = (0..100).map(|n| Name::new("n", format!("gw-{n}"))).collect();
        let of = |nodes: &BTreeSet<String>| -> BTreeMap<Name, String> {
            let announcers = gateways.iter().map(|g| (g.clone(), announcer(g, nodes)));
            announcers.map(|(g, node)| (g, node.expect("a node").to_owned())).collect()
        };
        let before = of(&nodes);
        let shares = nodes.iter().map(|node| before.values().filter(|n| *n == node).count());
        assert!(shares.clone().all(|share| share >= 8), "{:?}", shares.collect::<Vec<_>>());
        let mut fewer = nodes.clone();
        fewer.remove("node-3");
        for (gateway, node) in of(&fewer) {
            assert!(before[&gateway] == node || before[&gateway] == "node-3", "{gateway}");
            assert_ne!(node, "node-3");
        }
        assert_eq!(announcer(&gateways[0], &BTreeSet::new()), None);
    }
}
