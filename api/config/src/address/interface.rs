//! What a node is told.

use super::{Epoch, Held, InterfaceId, Unit};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// A network interface that is attached to the node, and what pods may have of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its identity in EC2.
    pub id: InterfaceId,
    /// By which the node finds the device: `02:00:00:00:00:01`, lower case.
    pub mac: String,
    /// Of its network card.
    pub card: u8,
    /// Of the device on its card.
    pub index: u8,
    /// Its own address. No pod has it unless it is in `units`.
    pub primary: Ipv4Addr,
    /// Its subnet, `subnet-...`.
    pub subnet: String,
    /// The VPC's router in that subnet.
    pub gateway: Ipv4Addr,
    /// What pods may have.
    pub units: BTreeSet<Unit>,
}

/// The operator asks for something back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Proposal {
    /// Of the proposal.
    pub epoch: Epoch,
}

/// All that a node is told of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeAddresses {
    /// Grows with each change; what is older than what a node has is not for it any more.
    pub epoch: Epoch,
    /// Its interfaces.
    pub interfaces: BTreeMap<InterfaceId, Interface>,
    /// What is to be given back. A unit that is fenced and not named here any more may be used again.
    pub proposals: BTreeMap<Held, Proposal>,
}
