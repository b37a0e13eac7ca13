//! Which node announces the addresses of a Gateway.

use crate::Name;
use crate::announcers::Announcers;
use sha2::{Digest, Sha256};

/// The node that announces a Gateway's addresses.
///
/// Whoever does goes on for as long as it is not known to be gone while another is ready: an address
/// that moves breaks the connections that it had. A new one is the ready node with the highest hash of
/// both names (rendezvous hashing), so that a node that goes leaves a share to each of the others.
pub(super) fn announcer<'n>(
    gateway: &Name,
    before: Option<&'n str>,
    nodes: &'n Announcers,
) -> Option<&'n str> {
    let Announcers { ready, complete } = nodes;
    let stays = |node: &&str| !complete || ready.is_empty() || ready.contains(*node);
    let weight = |node: &&String| Sha256::digest(format!("{node}\0{gateway}"));
    let new = || ready.iter().max_by_key(weight).map(String::as_str);
    before.filter(stays).or_else(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn nodes(ready: &[&str], complete: bool) -> Announcers {
        Announcers { ready: ready.iter().map(|node| (*node).to_owned()).collect(), complete }
    }

    #[test]
    fn a_node_that_goes_moves_no_gateway_but_its_own() {
        let five = nodes(&["node-0", "node-1", "node-2", "node-3", "node-4"], true);
        let gateways: Vec<Name> = (0..100).map(|n| Name::new("n", format!("gw-{n}"))).collect();
        let of = |nodes: &Announcers| -> BTreeMap<Name, String> {
            let announcers = gateways.iter().map(|g| (g.clone(), announcer(g, None, nodes)));
            announcers.map(|(g, node)| (g, node.expect("a node").to_owned())).collect()
        };
        let before = of(&five);
        let shares = five.ready.iter().map(|node| before.values().filter(|n| *n == node).count());
        assert!(shares.clone().all(|share| share >= 8), "{:?}", shares.collect::<Vec<_>>());
        let mut fewer = five.clone();
        fewer.ready.remove("node-3");
        for (gateway, node) in of(&fewer) {
            assert!(before[&gateway] == node || before[&gateway] == "node-3", "{gateway}");
            assert_ne!(node, "node-3");
        }
    }

    #[test]
    fn an_address_moves_only_from_a_node_that_is_gone_to_one_that_is_ready() {
        let gateway = Name::new("n", "gw");
        for (before, ready, complete, expected) in [
            (None, &["a"][..], true, Some("a")),
            (None, &[], true, None),
            (Some("b"), &["a", "b", "c"], true, Some("b")),
            (Some("b"), &["a"], true, Some("a")),
            (Some("b"), &[], true, Some("b")),
            // A new leader, before nodes have found it; a standby.
            (Some("b"), &["a"], false, Some("b")),
            (None, &["a"], false, Some("a")),
            (None, &[], false, None),
        ] {
            let nodes = nodes(ready, complete);
            assert_eq!(announcer(&gateway, before, &nodes), expected, "{before:?} {nodes:?}");
        }
    }
}
