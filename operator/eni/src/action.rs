//! What is to be done.

use penstock_config::address::{Held, InterfaceId, Unit};
use std::collections::BTreeSet;

/// Addresses to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fill {
    /// Single ones.
    Addresses(u32),
    /// Prefixes of sixteen.
    Prefixes(u32),
}

impl Fill {
    /// How many addresses that makes.
    pub fn addresses(self) -> u32 {
        match self {
            Fill::Addresses(count) => count,
            Fill::Prefixes(count) => count * 16,
        }
    }

    /// How many slots of an interface that takes.
    pub fn slots(self) -> u32 {
        match self {
            Fill::Addresses(count) | Fill::Prefixes(count) => count,
        }
    }
}

/// A step. All but the first two are calls of EC2, named as its API names them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// The node is asked to give something back.
    Propose(Held),
    /// It may keep it.
    Withdraw(Held),
    /// `CreateNetworkInterface`, with tags, groups and all addresses.
    Create {
        /// Subnet.
        subnet: String,
        /// Security groups.
        groups: BTreeSet<String>,
        /// Secondary addresses.
        fill: Fill,
        /// Where it will be attached: card and device index.
        place: (u8, u8),
    },
    /// `AttachNetworkInterface`.
    Attach {
        /// The interface.
        interface: InterfaceId,
        /// Card and device index.
        place: (u8, u8),
    },
    /// `ModifyNetworkInterfaceAttribute` of the attachment.
    DeleteOnTermination {
        /// The interface.
        interface: InterfaceId,
        /// Its attachment.
        attachment: String,
        /// Whether it ends with the instance.
        delete: bool,
    },
    /// `AssignPrivateIpAddresses`.
    Assign {
        /// The interface.
        interface: InterfaceId,
        /// How many.
        fill: Fill,
    },
    /// `UnassignPrivateIpAddresses`.
    Unassign {
        /// The interface.
        interface: InterfaceId,
        /// Which.
        units: BTreeSet<Unit>,
    },
    /// `DetachNetworkInterface`.
    Detach {
        /// The interface.
        interface: InterfaceId,
        /// Its attachment.
        attachment: String,
    },
    /// `DeleteNetworkInterface`.
    Delete {
        /// The interface.
        interface: InterfaceId,
    },
}

impl Action {
    /// The interface that it changes; none where it makes one.
    pub fn interface(&self) -> Option<&InterfaceId> {
        match self {
            Action::Propose(held) | Action::Withdraw(held) => Some(&held.interface),
            Action::Create { .. } => None,
            Action::Attach { interface, .. }
            | Action::DeleteOnTermination { interface, .. }
            | Action::Assign { interface, .. }
            | Action::Unassign { interface, .. }
            | Action::Detach { interface, .. }
            | Action::Delete { interface } => Some(interface),
        }
    }

    /// What it is about, as the end of an ARN: the resource that a permission has to be for.
    pub fn about(&self) -> String {
        match self {
            Action::Create { subnet, .. } => format!("subnet/{subnet}"),
            action => {
                action.interface().map_or_else(String::new, |id| format!("network-interface/{id}"))
            }
        }
    }

    /// Whether EC2 is called.
    pub fn is_call(&self) -> bool {
        !matches!(self, Action::Propose(_) | Action::Withdraw(_))
    }

    /// Addresses that it brings.
    pub fn brings(&self) -> u32 {
        match self {
            Action::Create { fill, .. } | Action::Assign { fill, .. } => fill.addresses(),
            _ => 0,
        }
    }

    /// The name of the call, as IAM and the metrics have it.
    pub fn name(&self) -> &'static str {
        match self {
            Action::Propose(_) => "Propose",
            Action::Withdraw(_) => "Withdraw",
            Action::Create { .. } => "CreateNetworkInterface",
            Action::Attach { .. } => "AttachNetworkInterface",
            Action::DeleteOnTermination { .. } => "ModifyNetworkInterfaceAttribute",
            Action::Assign { .. } => "AssignPrivateIpAddresses",
            Action::Unassign { .. } => "UnassignPrivateIpAddresses",
            Action::Detach { .. } => "DetachNetworkInterface",
            Action::Delete { .. } => "DeleteNetworkInterface",
        }
    }
}
