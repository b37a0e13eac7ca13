//! A node, as [`plan`](crate::plan) sees it.

use crate::{
    action::Action, demand::Demand, eni::Eni, limits::Limits, record::CONSISTENCY,
    settings::Settings, time::Time,
};
use penstock_config::address::{Epoch, Held, InterfaceId, Unit, Verdict};
use std::collections::BTreeMap;

/// The EC2 instance that a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// `i-...`.
    pub id: String,
    /// `m5.large`.
    pub kind: String,
    /// Availability zone.
    pub zone: String,
    /// Its VPC.
    pub vpc: String,
    /// Subnet of its first interface.
    pub subnet: String,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Which instance it is.
    pub instance: Instance,
    /// How it gets its addresses.
    pub settings: Settings,
    /// What its instance type can have; `None`: not known.
    pub limits: Option<Limits>,
    /// Its interfaces, those that are attached and those that shall be.
    pub enis: BTreeMap<InterfaceId, Eni>,
    /// What its pods need.
    pub demand: Demand,
    /// What is being given back.
    pub releases: BTreeMap<Held, Release>,
    /// Calls without an answer yet.
    pub running: Vec<Action>,
    /// Until when an interface is left alone.
    pub paused: BTreeMap<InterfaceId, Time>,
    /// Until when no interface is made.
    pub no_create_until: Option<Time>,
}

/// Something that is being given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// Of the proposal.
    pub epoch: Epoch,
    /// How far it is.
    pub state: ReleaseState,
    /// When it was taken over from an earlier leader. That leader's call may be on the way: so it is
    /// never withdrawn, and this leader's own call waits until the other one cannot come any more.
    pub adopted: Option<Time>,
}

impl Release {
    /// The node's answer. Only the first one counts.
    pub(crate) fn answered(&mut self, verdict: Verdict) {
        if self.state == ReleaseState::Proposed {
            self.state = match verdict {
                Verdict::Fenced => ReleaseState::Fenced,
                Verdict::InUse => ReleaseState::Refused,
            };
        }
    }

    /// Whether the node may keep it after all.
    pub(crate) fn is_revocable(&self) -> bool {
        self.adopted.is_none() && self.state < ReleaseState::Giving
    }

    /// Whether EC2 may be called.
    pub(crate) fn is_ready(&self, now: Time) -> bool {
        let confirmed = matches!(self.state, ReleaseState::Fenced | ReleaseState::Giving);
        confirmed && self.adopted.is_none_or(|at| at + CONSISTENCY <= now)
    }
}

/// How far a release is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReleaseState {
    /// The node was asked.
    Proposed,
    /// The node has fenced it.
    Fenced,
    /// The node has a pod that uses it.
    Refused,
    /// EC2 was called at least once: there is no way back.
    Giving,
}

impl Node {
    /// Whether a call that changes an interface is on the way, or it is to be left alone.
    pub(crate) fn is_busy(&self, id: &InterfaceId, now: Time) -> bool {
        let running = self.running.iter().any(|action| action.interface() == Some(id));
        running || self.paused.get(id).is_some_and(|until| *until > now)
    }

    /// The interfaces whose addresses pods may have, by place.
    pub(crate) fn used_enis(&self) -> Vec<&Eni> {
        let mut enis: Vec<_> =
            self.enis.values().filter(|eni| eni.is_used(&self.settings)).collect();
        enis.sort_by_key(|eni| eni.attachment.as_ref().map(|at| (at.card, at.index)));
        enis
    }

    /// Units that pods may have and that are not being given back.
    pub fn allocatable(&self) -> impl Iterator<Item = (Held, Unit)> + '_ {
        self.used_enis().into_iter().flat_map(|eni| {
            let units = eni.allocatable(&self.settings).into_iter();
            units
                .map(|unit| (Held::unit(&eni.id, unit), unit))
                .filter(|(held, _)| !self.releases.contains_key(held))
                .filter(|(held, _)| !self.releases.contains_key(&Held::interface(&held.interface)))
        })
    }

    /// Addresses that pods may have, in use or not.
    pub fn available(&self) -> u32 {
        self.allocatable().map(|(_, unit)| unit.size()).sum()
    }

    /// Addresses that are on their way: asked for, or of interfaces that are not attached yet.
    pub(crate) fn coming(&self) -> u32 {
        let asked: u32 = self.running.iter().map(Action::brings).sum();
        let loose = self.enis.values().filter(|eni| eni.attachment.is_none());
        let loose: u32 = loose.flat_map(|eni| &eni.units).map(|unit| unit.size()).sum();
        asked + loose
    }
}
