//! Choice of a backendRef by weight and of an endpoint by load.

use super::{Peer, PeerKey, Pool};
use crate::{
    snapshot::{Backend, Choice},
    telemetry::{BackendCells, Series},
};
use std::{cell::Cell, cell::RefCell, rc::Rc, sync::Arc};

/// Shares of the backendRefs of one rule, on one worker.
///
/// Smooth weighted round robin: after as many requests as the weights add up to, each backendRef has
/// got exactly its weight, and never many in a row.
#[derive(Debug)]
pub struct Split {
    weights: Box<[u32]>,
    current: RefCell<Box<[i64]>>,
}

impl Split {
    /// Shares of these backendRefs; `None` where no choice is left.
    pub fn new(choices: &[Choice]) -> Option<Self> {
        let weights: Box<[u32]> = choices.iter().map(|choice| choice.weight).collect();
        let some = weights.iter().filter(|weight| **weight > 0).count();
        (some > 1).then(|| Self { current: RefCell::new(vec![0; weights.len()].into()), weights })
    }

    /// Whether it is the split of these backendRefs, so that it goes on over a change.
    pub fn fits(&self, choices: &[Choice]) -> bool {
        self.weights.iter().copied().eq(choices.iter().map(|choice| choice.weight))
    }

    /// The backendRef of the next request.
    pub fn next(&self) -> usize {
        let mut current = self.current.borrow_mut();
        let mut total = 0;
        let mut best: Option<usize> = None;
        for (index, weight) in self.weights.iter().enumerate().filter(|(_, w)| **w > 0) {
            total += i64::from(*weight);
            current[index] += i64::from(*weight);
            if best.is_none_or(|best| current[index] > current[best]) {
                best = Some(index);
            }
        }
        // A split has at least two weights.
        let best = best.unwrap_or_default();
        current[best] -= total;
        best
    }
}

/// The backendRef without a split: the only one with a weight.
pub fn only(choices: &[Choice]) -> Option<usize> {
    choices.iter().position(|choice| choice.weight > 0)
}

/// The endpoints of a backend, on one worker.
#[derive(Debug)]
pub struct BackendPool {
    /// `namespace/name:port`.
    pub name: Arc<str>,
    /// Its metrics.
    pub cells: Arc<Series<BackendCells>>,
    peers: Box<[Rc<Peer>]>,
    next: Cell<usize>,
}

/// Up to so many endpoints all are looked at; beyond it two, drawn at random: the power of two
/// choices, at a cost that does not grow.
const LOOK_AT_ALL: usize = 8;

impl BackendPool {
    /// The endpoints of a backend, with the connections that the pool has to them.
    pub fn new(backend: &Backend, pool: &Pool) -> Self {
        let peer = |(host, port): &(_, u16)| {
            let key = PeerKey { host: Clone::clone(host), port: *port, protocol: backend.protocol };
            pool.peer(key)
        };
        Self {
            name: backend.name.clone(),
            cells: backend.cells.clone(),
            peers: backend.endpoints.iter().map(peer).collect(),
            next: Cell::new(0),
        }
    }

    /// Whether it has the endpoints of that backend, so that it goes on over a change.
    pub fn fits(&self, backend: &Backend) -> bool {
        self.peers.len() == backend.endpoints.len()
            && self.peers.iter().zip(&*backend.endpoints).all(|(peer, (host, port))| {
                let key = peer.key();
                key.host == *host && key.port == *port && key.protocol == backend.protocol
            })
    }

    /// The endpoint with the fewest requests in flight, among equals the next in turn. `avoid` is
    /// one that just failed: it is taken only where there is no other.
    pub fn pick(&self, avoid: Option<&Rc<Peer>>) -> Option<&Rc<Peer>> {
        let count = self.peers.len();
        let start = self.next.get();
        self.next.set(start.wrapping_add(1));
        let load = |peer: &&Rc<Peer>| {
            (avoid.is_some_and(|avoid| Rc::ptr_eq(avoid, peer)), peer.in_flight())
        };
        match count {
            0 => None,
            1 => self.peers.first(),
            2..=LOOK_AT_ALL => (0..count)
                .map(|step| &self.peers[start.wrapping_add(step) % count])
                .min_by_key(load),
            _ => {
                let (one, two) = pair(start as u64, count);
                [&self.peers[one], &self.peers[two]].into_iter().min_by_key(load)
            }
        }
    }
}

/// Two different numbers below `count`, well spread over calls.
fn pair(call: u64, count: usize) -> (usize, usize) {
    // SplitMix64: a bijection of the call's number, so no state beside it is needed.
    let mut mixed = call.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let one = (mixed >> 32) as usize % count;
    let two = (mixed as u32) as usize % (count - 1);
    (one, if two >= one { two + 1 } else { two })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Program;
    use proptest::prelude::*;

    fn choices(weights: &[u32]) -> Vec<Choice> {
        let choice = |weight: &u32| Choice {
            reference: "n/s:80".into(),
            weight: *weight,
            backend: None,
            program: Program::default(),
        };
        weights.iter().map(choice).collect()
    }

    proptest! {
        #[test]
        fn s7_09_each_backend_gets_exactly_its_weight(
            weights in proptest::collection::vec(0_u32..20, 2..6)
        ) {
            let choices = choices(&weights);
            let Some(split) = Split::new(&choices) else {
                prop_assert!(weights.iter().filter(|w| **w > 0).count() < 2);
                return Ok(());
            };
            let total: u32 = weights.iter().sum();
            let mut counts = vec![0; weights.len()];
            for _ in 0..total * 3 {
                counts[split.next()] += 1;
            }
            let expected: Vec<u32> = weights.iter().map(|weight| weight * 3).collect();
            prop_assert_eq!(counts, expected);
        }
    }

    #[test]
    fn s7_09_a_single_weight_is_irrelevant_and_zero_gets_nothing() {
        assert!(Split::new(&choices(&[7])).is_none());
        assert!(Split::new(&choices(&[0, 7])).is_none());
        assert_eq!(only(&choices(&[0, 7])), Some(1));
        assert_eq!(only(&choices(&[0])), None);
    }

    #[test]
    fn a_split_goes_on_over_a_change_that_does_not_concern_it() {
        let split = Split::new(&choices(&[1, 2])).expect("two weights");
        assert!(split.fits(&choices(&[1, 2])));
        assert!(!split.fits(&choices(&[1, 2, 3])));
        assert!(!split.fits(&choices(&[2, 1])));
    }

    #[test]
    fn pairs_differ_and_spread() {
        let mut counts = [0_u32; 10];
        for call in 0..10_000 {
            let (one, two) = pair(call, counts.len());
            assert_ne!(one, two);
            counts[one] += 1;
            counts[two] += 1;
        }
        assert!(counts.iter().all(|count| (1_800..2_200).contains(count)), "{counts:?}");
    }
}
