//! What a node says.

use super::{Epoch, Held, Interface, InterfaceId};
use std::collections::BTreeMap;

/// A node's answer to a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Nobody uses it, and nobody gets it as long as the proposal stands.
    Fenced,
    /// A pod uses it.
    InUse,
}

/// What a node needs, has in use and answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whether pods are started here with addresses of the node's: its runtime was told to ask for them.
    pub serving: bool,
    /// Of the newest [`NodeAddresses`](super::NodeAddresses) that the node has.
    pub seen: Epoch,
    /// The interfaces that it says. A leader that follows another one knows from it what that one's
    /// last calls changed, which EC2's descriptions may not show yet.
    pub known: BTreeMap<InterfaceId, Interface>,
    /// Pods that wait for an address.
    pub pending: u32,
    /// Addresses in use, by what they are of. What is not named is idle.
    pub used: BTreeMap<Held, u32>,
    /// Answers to the proposals that the node has, each with the proposal's epoch.
    pub verdicts: BTreeMap<Held, (Epoch, Verdict)>,
}

impl Report {
    /// Addresses in use.
    pub fn in_use(&self) -> u32 {
        self.used.values().sum()
    }
}
