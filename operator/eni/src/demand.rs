//! What the pods of a node need.

use crate::time::Time;
use penstock_config::address::{Held, Report};
use std::collections::BTreeMap;

/// What the pods of a node need, from what the node says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Pods without an address.
    pub pending: u32,
    /// Addresses in use, by what they are of.
    pub used: BTreeMap<Held, u32>,
    /// Since when something that is not in use is not.
    idle_since: BTreeMap<Held, Time>,
}

impl Demand {
    /// Addresses in use.
    pub fn in_use(&self) -> u32 {
        self.used.values().sum()
    }

    /// Takes a report in, and what the node has at this time.
    pub fn observe<'a>(
        &mut self,
        report: &Report,
        holds: impl Iterator<Item = &'a Held>,
        now: Time,
    ) {
        self.pending = report.pending;
        self.used =
            report.used.iter().filter(|(_, n)| **n > 0).map(|(h, n)| (h.clone(), *n)).collect();
        let mut before = std::mem::take(&mut self.idle_since);
        let in_use = |held: &&Held| match held.unit {
            Some(_) => report.used.contains_key(held),
            None => report.used.keys().any(|used| used.interface == held.interface),
        };
        for held in holds.filter(|held| !in_use(held)) {
            let since = before.remove(held).unwrap_or(now);
            self.idle_since.insert(held.clone(), since);
        }
    }

    /// The node said that somebody uses it, whatever its reports said.
    pub(crate) fn refused(&mut self, held: &Held, now: Time) {
        if let Some(since) = self.idle_since.get_mut(held) {
            *since = now;
        }
    }

    /// Since when nobody uses something; `None` where somebody does, or nobody said.
    pub fn idle_since(&self, held: &Held) -> Option<Time> {
        self.idle_since.get(held).copied()
    }
}
