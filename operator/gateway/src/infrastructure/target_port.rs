//! A port of its own for each (Gateway, port), so that two Gateways on 443 can share a node.

use crate::Name;
use penstock_config::TARGET_PORTS;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// A port of a Gateway that needs a target port.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) gateway: Name,
    /// As clients dial it.
    pub(super) port: u16,
    /// What the Service that is there says.
    pub(super) held: Option<u16>,
}

/// The target port of each wish, all different. What a Service holds stays; of two that hold the
/// same the earlier wish keeps it. The rest is chosen by hash, one after the other, so that a wish
/// is never moved by a later one. Wishes beyond the number of ports get none.
pub(super) fn assign(wishes: &[Wish]) -> BTreeMap<(Name, u16), u16> {
    let mut taken = BTreeSet::new();
    let mut assigned = BTreeMap::new();
    let key = |wish: &Wish| (wish.gateway.clone(), wish.port);
    for wish in wishes {
        let held = wish.held.filter(|port| TARGET_PORTS.contains(port));
        if let Some(port) = held.filter(|port| taken.insert(*port)) {
            assigned.insert(key(wish), port);
        }
    }
    for wish in wishes {
        if assigned.contains_key(&key(wish)) {
            continue;
        }
        if let Some(port) = probe(wish).find(|port| !taken.contains(port)) {
            taken.insert(port);
            assigned.insert(key(wish), port);
        }
    }
    assigned
}

/// All target ports, beginning with the one that the hash says.
fn probe(wish: &Wish) -> impl Iterator<Item = u16> {
    let digest = Sha256::digest(format!("{}|{}", wish.gateway, wish.port));
    let hash = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let (first, count) = (u32::from(*TARGET_PORTS.start()), TARGET_PORTS.len() as u32);
    let ports = (0..count).map(move |step| first + (hash % count + step) % count);
    // All of them are in the range, whose bounds are of this type.
    ports.filter_map(|port| u16::try_from(port).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wishes(of: &[(u8, u8, Option<u16>)]) -> Vec<Wish> {
        let mut seen = BTreeSet::new();
        let of = of.iter().filter(|(gateway, port, _)| seen.insert((*gateway, *port)));
        of.map(|(gateway, port, held)| Wish {
            gateway: Name::new("n", format!("gw-{gateway}")),
            port: u16::from(*port) + 1,
            held: *held,
        })
        .collect()
    }

    fn some() -> impl Strategy<Value = Vec<(u8, u8, Option<u16>)>> {
        // Few values, so that holders collide; some outside the range.
        let held = proptest::option::of(19_998..20_006u16);
        proptest::collection::vec((0..40u8, any::<u8>(), held), 0..80)
    }

    proptest! {
        #[test]
        fn target_ports_are_unique_and_in_range(of in some()) {
            let wishes = wishes(&of);
            let assigned = assign(&wishes);
            prop_assert_eq!(assigned.len(), wishes.len());
            let ports: BTreeSet<u16> = assigned.values().copied().collect();
            prop_assert_eq!(ports.len(), wishes.len());
            prop_assert!(ports.iter().all(|port| TARGET_PORTS.contains(port)));
        }

        #[test]
        fn a_target_port_that_is_held_is_kept_whatever_else_changes(
            of in some(),
            more in some(),
            rotate in 0..80usize,
        ) {
            let mut wishes = wishes(&of);
            let assigned = assign(&wishes);
            for wish in &mut wishes {
                wish.held = assigned.get(&(wish.gateway.clone(), wish.port)).copied();
            }
            let mut moved: Vec<Wish> = self::wishes(&more)
                .into_iter()
                .filter(|w| !assigned.contains_key(&(w.gateway.clone(), w.port)))
                .map(|w| Wish { held: None, ..w })
                .collect();
            moved.extend(wishes);
            let by = rotate % moved.len().max(1);
            moved.rotate_left(by);
            let again = assign(&moved);
            for (key, port) in &assigned {
                prop_assert_eq!(again.get(key), Some(port));
            }
        }

        #[test]
        fn a_later_wish_moves_no_earlier_one(of in some(), more in some()) {
            let strip = |wishes: Vec<Wish>| -> Vec<Wish> {
                wishes.into_iter().map(|w| Wish { held: None, ..w }).collect()
            };
            let first = strip(wishes(&of));
            let both = strip(wishes(&[of.clone(), more].concat()));
            let (before, after) = (assign(&first), assign(&both));
            for (key, port) in &before {
                prop_assert_eq!(after.get(key), Some(port));
            }
        }
    }

    #[test]
    fn the_largest_hashes_have_ports_as_others_do() {
        let hashed = 4294964651u32;
        assert!(hashed.checked_add(TARGET_PORTS.len() as u32).is_none(), "one of the largest");
        let wish = Wish { gateway: Name::new("n", "gw-7542"), port: 443, held: None };
        let ports: Vec<u16> = probe(&wish).collect();
        assert_eq!((ports[0], ports.len()), (24651, TARGET_PORTS.len()));
    }

    #[test]
    fn beyond_the_number_of_ports_there_is_none() {
        let wish = |n: u32| Wish {
            gateway: Name::new("n", format!("gw-{}", n / 1000)),
            port: (n % 1000) as u16,
            held: u16::try_from(20_000 + n).ok().filter(|port| *port < 29_999),
        };
        let wishes: Vec<Wish> = (0..10_001).map(wish).collect();
        let assigned = assign(&wishes);
        assert_eq!(assigned.len(), TARGET_PORTS.len());
        assert_eq!(assigned.get(&(Name::new("n", "gw-9"), 999)), Some(&29_999));
    }
}
