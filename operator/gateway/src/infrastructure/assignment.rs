//! Which Gateway has which address of the pools.
//!
//! The memory is in the objects: what the Service of a Gateway, or its status, already says stays,
//! as long as a pool that selects the Gateway holds it; after that what this replica decided before.
//! No address is ever given twice; of two that claim one the older Gateway has it.

use super::address::Ask;
use super::pool::Pool;
use crate::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A Gateway that may have addresses of pools.
#[derive(Debug)]
pub(super) struct Claimant<'p, 'a> {
    pub(super) name: Name,
    pub(super) asks: Vec<Ask>,
    /// What it had, by its Service and its status.
    pub(super) held: Vec<IpAddr>,
    /// What it was given before, by a Service that may not be there yet.
    pub(super) assumed: Vec<IpAddr>,
    /// The pools that select it, by name.
    pub(super) pools: Vec<&'p Pool<'a>>,
}

/// What a Gateway has of the pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Assigned {
    /// What it asked for by value, and got.
    pub(super) named: BTreeSet<IpAddr>,
    /// What it got for [`Ask::Any`], at most one of each family.
    pub(super) any: BTreeSet<IpAddr>,
}

/// All assignments; `claimants` are in the order of their age.
#[derive(Debug, Default)]
pub(super) struct Assignments {
    of: BTreeMap<Name, Assigned>,
    owners: BTreeMap<IpAddr, Name>,
}

impl Assignments {
    pub(super) fn new(claimants: &[Claimant<'_, '_>]) -> Self {
        let mut all = Self::default();
        claimants.iter().for_each(|claimant| all.keep(claimant, &claimant.held));
        claimants.iter().for_each(|claimant| all.keep(claimant, &claimant.assumed));
        claimants.iter().for_each(|claimant| all.give_named(claimant));
        claimants.iter().for_each(|claimant| all.give_any(claimant));
        all
    }

    pub(super) fn of(&self, gateway: &Name) -> Option<&Assigned> {
        self.of.get(gateway)
    }

    /// Who has an address.
    pub(super) fn owner(&self, ip: IpAddr) -> Option<&Name> {
        self.owners.get(&ip)
    }

    /// All addresses that somebody has.
    pub(super) fn taken(&self) -> BTreeSet<IpAddr> {
        self.owners.keys().copied().collect()
    }

    fn keep(&mut self, claimant: &Claimant<'_, '_>, held: &[IpAddr]) {
        for ip in held {
            if !claimant.may_have(*ip) || self.owners.contains_key(ip) {
                continue;
            }
            let assigned = self.of.entry(claimant.name.clone()).or_default();
            if claimant.asks.contains(&Ask::Ip(*ip)) {
                assigned.named.insert(*ip);
            } else if claimant.asks.contains(&Ask::Any) && !has(&assigned.any, ip.is_ipv4()) {
                assigned.any.insert(*ip);
            } else {
                continue;
            }
            self.owners.insert(*ip, claimant.name.clone());
        }
    }

    fn give_named(&mut self, claimant: &Claimant<'_, '_>) {
        for ask in &claimant.asks {
            let Ask::Ip(ip) = ask else { continue };
            if claimant.may_have(*ip) && !self.owners.contains_key(ip) {
                self.of.entry(claimant.name.clone()).or_default().named.insert(*ip);
                self.owners.insert(*ip, claimant.name.clone());
            }
        }
    }

    fn give_any(&mut self, claimant: &Claimant<'_, '_>) {
        if !claimant.asks.contains(&Ask::Any) {
            return;
        }
        let assigned = self.of.entry(claimant.name.clone()).or_default();
        for v4 in [true, false] {
            if has(&assigned.any, v4) {
                continue;
            }
            let owners = &self.owners;
            let taken = |ip: IpAddr| owners.contains_key(&ip);
            if let Some(ip) = claimant.pools.iter().find_map(|pool| pool.lowest_free(v4, taken)) {
                assigned.any.insert(ip);
                self.owners.insert(ip, claimant.name.clone());
            }
        }
    }
}

impl Claimant<'_, '_> {
    fn may_have(&self, ip: IpAddr) -> bool {
        self.pools.iter().any(|pool| pool.holds(ip))
    }
}

fn has(addresses: &BTreeSet<IpAddr>, v4: bool) -> bool {
    addresses.iter().any(|ip| ip.is_ipv4() == v4)
}
