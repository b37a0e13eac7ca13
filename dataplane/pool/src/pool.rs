//! Giving addresses to pods.

use crate::{
    kept::Kept,
    owner::{Granted, Owner},
};
use penstock_config::address::{Held, InterfaceId, NodeAddresses, Report, Unit};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

/// How long an address that a pod had is given to nobody as long as there are others: what others
/// remember of the pod shall not meet another one.
const REST: Duration = Duration::from_secs(30);

/// There is none. It is nobody's fault, and waiting helps: the operator was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no address is free: {used} of {all} are in use, {fenced} are being given back, {unready} are of interfaces that are not ready; more were asked for"
)]
pub struct NoAddress {
    /// Addresses of the node.
    pub all: u32,
    /// Those that pods have.
    pub used: u32,
    /// Those that are being given back.
    pub fenced: u32,
    /// Those of devices that the kernel does not show yet.
    pub unready: u32,
}

/// Which pod of a node has which address.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    kept: Kept,
    /// Interfaces whose devices are there and set up.
    ready: BTreeSet<InterfaceId>,
    /// Who asked and got none.
    waiting: BTreeSet<Owner>,
    /// Addresses that pods have although nothing was kept of it, until it is known of what they are.
    found: BTreeMap<Owner, Ipv4Addr>,
    /// When addresses were given back by pods, in milliseconds.
    freed: BTreeMap<Ipv4Addr, u64>,
}

impl Pool {
    /// Begins with what was kept.
    pub fn new(kept: Kept) -> Self {
        Self { kept, ..Self::default() }
    }

    /// What is to be written down before anything that follows from a change is said to anybody.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// A pod has an address, as the kernel shows: where nothing was kept of it, it is as good as given.
    pub fn found(&mut self, owner: Owner, address: Ipv4Addr) {
        if !self.kept.pods.contains_key(&owner) {
            self.found.insert(owner, address);
            self.place_found();
        }
    }

    /// Takes in what the node is told. What is older than what it knows changes nothing; says whether
    /// this is not.
    pub fn tell(&mut self, told: NodeAddresses) -> bool {
        // Before proposals are answered: what was found is in use.
        let placed = place(&mut self.found, &told);
        self.kept.pods.extend(placed);
        self.kept.tell(told)
    }

    fn place_found(&mut self) {
        let placed = place(&mut self.found, &self.kept.told);
        self.kept.pods.extend(placed);
    }

    /// Everybody who has an address.
    pub fn owners(&self) -> impl Iterator<Item = (&Owner, Ipv4Addr)> {
        let found = self.found.iter().map(|(owner, address)| (owner, *address));
        self.kept.pods.iter().map(|(owner, granted)| (owner, granted.address)).chain(found)
    }

    /// What somebody has.
    pub fn get(&self, owner: &Owner) -> Option<&Granted> {
        self.kept.pods.get(owner)
    }

    /// These interfaces' devices are there and set up, and no others.
    pub fn ready(&mut self, interfaces: BTreeSet<InterfaceId>) {
        self.ready = interfaces;
    }

    /// Gives an address to a pod; the same one when it asks again.
    ///
    /// # Errors
    /// Where none is free. The pod counts as waiting then, until it gets one or gives up.
    pub fn add(&mut self, owner: Owner, now: u64) -> Result<Granted, NoAddress> {
        if let Some(granted) = self.kept.pods.get(&owner) {
            return Ok(granted.clone());
        }
        let Some(granted) = self.free(now) else {
            self.waiting.insert(owner);
            return Err(self.none());
        };
        self.waiting.remove(&owner);
        self.freed.remove(&granted.address);
        self.kept.pods.insert(owner, granted.clone());
        Ok(granted)
    }

    /// A pod is gone, or waits no more. That it has no address is no error (CNI specification, DEL).
    pub fn remove(&mut self, owner: &Owner, now: u64) -> Option<Ipv4Addr> {
        self.waiting.remove(owner);
        self.found.remove(owner);
        let granted = self.kept.pods.remove(owner)?;
        self.freed.insert(granted.address, now);
        Some(granted.address)
    }

    /// What the operator is told. Whether pods are started here is for whoever drives the pool to say.
    pub fn report(&self) -> Report {
        let mut used = BTreeMap::new();
        for granted in self.kept.pods.values() {
            *used.entry(granted.of.clone()).or_default() += 1;
        }
        Report {
            serving: false,
            seen: self.kept.told.epoch,
            known: self.kept.told.interfaces.clone(),
            pending: u32::try_from(self.waiting.len()).unwrap_or(u32::MAX),
            used,
            verdicts: self.kept.verdicts.clone(),
        }
    }

    fn units(&self) -> impl Iterator<Item = (Held, Unit)> + '_ {
        self.kept.told.interfaces.values().flat_map(|interface| {
            interface.units.iter().map(|unit| (Held::unit(&interface.id, *unit), *unit))
        })
    }

    fn is_open(&self, held: &Held) -> bool {
        self.ready.contains(&held.interface) && !self.kept.is_fenced(held)
    }

    /// The best free address: one that did not belong to a pod lately, in a unit and on an interface
    /// that have many in use, so that others become idle and can be given back.
    fn free(&self, now: u64) -> Option<Granted> {
        let taken = self.taken();
        let mut used: BTreeMap<InterfaceId, u32> = BTreeMap::new();
        let open: Vec<_> = self
            .units()
            .filter(|(held, _)| self.is_open(held))
            .map(|(held, unit)| {
                let uses = self.kept.uses(&held);
                *used.entry(held.interface.clone()).or_default() += uses;
                (held, unit, uses)
            })
            .collect();
        let rests = |address| {
            let rest = u64::try_from(REST.as_millis()).unwrap_or(u64::MAX);
            self.freed.get(&address).filter(|at| now < at.saturating_add(rest)).copied()
        };
        let free = open.iter().flat_map(|(held, unit, uses)| {
            let taken = &taken;
            let free = unit.addresses().filter(move |address| !taken.contains(address));
            free.map(move |address| (held, uses, address))
        });
        let best = free.min_by_key(|(held, uses, address)| {
            let interface = &held.interface;
            (rests(*address), Reverse(used[interface]), Reverse(**uses), interface, *address)
        });
        best.map(|(held, _, address)| Granted { address, of: held.clone() })
    }

    fn taken(&self) -> BTreeSet<Ipv4Addr> {
        self.owners().map(|(_, address)| address).collect()
    }

    fn none(&self) -> NoAddress {
        let mut none = NoAddress {
            all: 0,
            used: u32::try_from(self.kept.pods.len()).unwrap_or(u32::MAX),
            fenced: 0,
            unready: 0,
        };
        for (held, unit) in self.units() {
            none.all += unit.size();
            if self.kept.is_fenced(&held) {
                none.fenced += unit.size();
            } else if !self.ready.contains(&held.interface) {
                none.unready += unit.size();
            }
        }
        none
    }
}

/// Those found addresses whose unit is known now.
fn place(found: &mut BTreeMap<Owner, Ipv4Addr>, told: &NodeAddresses) -> Vec<(Owner, Granted)> {
    let unit_of = |address: Ipv4Addr| {
        told.interfaces.values().find_map(|interface| {
            let unit = interface.units.iter().find(|unit| unit.contains(address))?;
            Some(Held::unit(&interface.id, *unit))
        })
    };
    let placed = found.extract_if(.., |_, address| unit_of(*address).is_some());
    placed
        .filter_map(|(owner, address)| Some((owner, Granted { address, of: unit_of(address)? })))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_config::address::{Block, Epoch, Interface, Proposal, Verdict};

    fn owner(n: u32) -> Owner {
        Owner { container: format!("sandbox-{n}"), device: "eth0".into() }
    }

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    fn interface(id: &str, units: &[Unit]) -> Interface {
        Interface {
            id: id.into(),
            mac: String::new(),
            card: 0,
            index: 0,
            primary: address(1),
            subnet: "subnet-1".into(),
            gateway: address(1),
            units: units.iter().copied().collect(),
        }
    }

    fn epoch(term: u32, count: u32) -> Epoch {
        Epoch { term, count }
    }

    fn told(epoch: Epoch, interfaces: &[Interface], proposals: &[(Held, Epoch)]) -> NodeAddresses {
        NodeAddresses {
            epoch,
            interfaces: interfaces.iter().map(|i| (i.id.clone(), i.clone())).collect(),
            proposals: proposals
                .iter()
                .map(|(h, epoch)| (h.clone(), Proposal { epoch: *epoch }))
                .collect(),
        }
    }

    fn pool(units: &[Unit]) -> Pool {
        let mut pool = Pool::default();
        pool.tell(told(epoch(1, 1), &[interface("eni-1", units)], &[]));
        pool.ready(["eni-1".into()].into());
        pool
    }

    fn single(last: u8) -> Unit {
        Unit::Address(address(last))
    }

    #[test]
    fn a_pod_that_asks_again_gets_the_same_address_and_no_two_pods_one() {
        let mut pool = pool(&[single(5), single(6)]);
        let first = pool.add(owner(1), 0).unwrap();
        assert_eq!(pool.add(owner(1), 0).unwrap(), first);
        let second = pool.add(owner(2), 0).unwrap();
        assert_ne!(first.address, second.address);
        let none = pool.add(owner(3), 0).unwrap_err();
        assert_eq!((none.all, none.used), (2, 2));
        assert_eq!(pool.report().pending, 1);
        pool.remove(&owner(1), 0);
        assert_eq!(pool.add(owner(3), 0).unwrap().address, first.address);
        assert_eq!(pool.report().pending, 0);
    }

    #[test]
    fn addresses_rest_after_a_pod_had_them_unless_there_are_no_others() {
        let mut pool = pool(&[single(5), single(6)]);
        assert_eq!(pool.add(owner(1), 0).unwrap().address, address(5));
        pool.remove(&owner(1), 1_000);
        assert_eq!(pool.add(owner(2), 2_000).unwrap().address, address(6));
        assert_eq!(pool.add(owner(3), 2_000).unwrap().address, address(5));
        pool.remove(&owner(2), 3_000);
        pool.remove(&owner(3), 4_000);
        assert_eq!(pool.add(owner(4), 5_000).unwrap().address, address(6), "it rests longest");
    }

    #[test]
    fn pods_fill_the_unit_that_has_most_of_them() {
        let blocks = [16, 32].map(|n| Unit::Block(Block::of(address(n))));
        let mut pool = pool(&blocks);
        let all: Vec<_> = (0..3).map(|n| pool.add(owner(n), 0).unwrap().address).collect();
        assert_eq!(all, [address(16), address(17), address(18)]);
        pool.remove(&owner(1), 0);
        assert_eq!(pool.add(owner(9), 1).unwrap().address, address(19));
    }

    #[test]
    fn what_is_fenced_is_given_to_nobody_until_the_proposal_is_withdrawn() {
        let mut pool = pool(&[single(5)]);
        let held = Held::unit(&"eni-1".into(), single(5));
        let interfaces = [interface("eni-1", &[single(5)])];
        let proposed = [(held.clone(), epoch(1, 2))];
        assert!(pool.tell(told(epoch(1, 3), &interfaces, &proposed)));
        assert_eq!(pool.report().verdicts[&held], (epoch(1, 2), Verdict::Fenced));
        assert_eq!(pool.add(owner(1), 0).unwrap_err().fenced, 1);
        assert!(!pool.tell(told(epoch(1, 3), &interfaces, &[])), "it is not newer");
        assert!(pool.tell(told(epoch(1, 4), &interfaces, &[])));
        assert_eq!(pool.add(owner(1), 0).unwrap().address, address(5));
    }

    #[test]
    fn what_a_pod_uses_is_not_fenced_and_a_verdict_stays_as_it_was_given() {
        let mut pool = pool(&[single(5)]);
        pool.add(owner(1), 0).unwrap();
        let held = Held::unit(&"eni-1".into(), single(5));
        let interfaces = [interface("eni-1", &[single(5)])];
        pool.tell(told(epoch(1, 3), &interfaces, &[(held.clone(), epoch(1, 2))]));
        assert_eq!(pool.report().verdicts[&held], (epoch(1, 2), Verdict::InUse));
        pool.remove(&owner(1), 0);
        pool.tell(told(epoch(1, 4), &interfaces, &[(held.clone(), epoch(1, 2))]));
        assert_eq!(pool.report().verdicts[&held], (epoch(1, 2), Verdict::InUse));
        assert!(pool.add(owner(2), 0).is_ok());
    }

    #[test]
    fn an_earlier_leaders_fence_stands_although_the_new_one_does_not_know_of_it_yet() {
        let mut pool = pool(&[single(5)]);
        let held = Held::unit(&"eni-1".into(), single(5));
        let interfaces = [interface("eni-1", &[single(5)])];
        pool.tell(told(epoch(1, 3), &interfaces, &[(held.clone(), epoch(1, 2))]));
        pool.tell(told(epoch(2, 1), &interfaces, &[]));
        assert!(pool.add(owner(1), 0).is_err());
        assert_eq!(pool.report().verdicts[&held], (epoch(1, 2), Verdict::Fenced));
        pool.tell(told(epoch(2, 3), &interfaces, &[(held.clone(), epoch(2, 2))]));
        assert_eq!(pool.report().verdicts[&held], (epoch(2, 2), Verdict::Fenced));
        pool.tell(told(epoch(2, 4), &[interface("eni-1", &[])], &[]));
        pool.tell(told(epoch(2, 5), &interfaces, &[]));
        assert!(pool.add(owner(1), 0).is_ok(), "it was given back and came again");
    }

    #[test]
    fn an_interface_that_a_pod_uses_is_not_given_back_although_the_node_is_told_nothing_of_it() {
        let mut pool = pool(&[single(5)]);
        pool.add(owner(1), 0).unwrap();
        pool.tell(told(epoch(1, 2), &[], &[]));
        assert_eq!(pool.report().in_use(), 1);
        assert_eq!(pool.add(owner(1), 0).unwrap().address, address(5));
        let held = Held::interface(&"eni-1".into());
        pool.tell(told(epoch(1, 4), &[interface("eni-1", &[])], &[(held.clone(), epoch(1, 3))]));
        assert_eq!(pool.report().verdicts[&held], (epoch(1, 3), Verdict::InUse));
    }

    #[test]
    fn an_interface_is_fenced_with_all_that_it_has() {
        let mut pool = pool(&[single(5), single(6)]);
        let held = Held::interface(&"eni-1".into());
        let interfaces = [interface("eni-1", &[single(5), single(6)])];
        pool.tell(told(epoch(1, 3), &interfaces, &[(held.clone(), epoch(1, 2))]));
        assert_eq!(pool.report().verdicts[&held], (epoch(1, 2), Verdict::Fenced));
        assert!(pool.add(owner(1), 0).is_err());
    }

    #[test]
    fn an_address_that_was_found_is_in_use_before_anything_is_answered() {
        let mut pool = Pool::default();
        pool.ready(["eni-1".into()].into());
        pool.found(owner(1), address(5));
        let held = Held::unit(&"eni-1".into(), single(5));
        let interfaces = [interface("eni-1", &[single(5), single(6)])];
        pool.tell(told(epoch(1, 3), &interfaces, &[(held.clone(), epoch(1, 2))]));
        assert_eq!(pool.report().verdicts[&held], (epoch(1, 2), Verdict::InUse));
        assert_eq!(pool.add(owner(2), 0).unwrap().address, address(6));
        assert_eq!(pool.add(owner(1), 0).unwrap().address, address(5));
        // One that is of nothing that the node was told of is nobody else's all the same.
        pool.found(owner(3), address(9));
        let interfaces = [interface("eni-1", &[single(5), single(6), single(9)])];
        pool.tell(told(epoch(1, 4), &interfaces, &[]));
        assert!(pool.add(owner(4), 0).is_err());
        pool.remove(&owner(3), 0);
        assert_eq!(pool.add(owner(4), 0).unwrap().address, address(9));
    }

    #[test]
    fn devices_that_are_not_there_give_no_addresses() {
        let mut pool = pool(&[single(5)]);
        pool.ready(BTreeSet::new());
        assert_eq!(pool.add(owner(1), 0).unwrap_err().unready, 1);
    }

    #[test]
    fn a_pool_goes_on_after_a_restart_with_what_was_kept() {
        let mut pool = pool(&[single(5), single(6)]);
        pool.add(owner(1), 0).unwrap();
        let mut again = Pool::new(pool.kept().clone());
        again.ready(["eni-1".into()].into());
        assert_eq!(again.add(owner(1), 0).unwrap().address, address(5));
        assert_eq!(again.add(owner(2), 0).unwrap().address, address(6));
    }
}
