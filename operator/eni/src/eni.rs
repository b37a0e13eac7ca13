//! What is known of a network interface.

use crate::settings::{Settings, has_tags};
use penstock_config::address::{Interface, InterfaceId, Unit};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// A network interface, as EC2 shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eni {
    /// Its identity.
    pub id: InterfaceId,
    /// `02:00:00:00:00:01`.
    pub mac: String,
    /// Its VPC; empty where only a node said that it has the interface.
    pub vpc: String,
    /// Its subnet.
    pub subnet: String,
    /// Its own address, which it has as long as it is.
    pub primary: Ipv4Addr,
    /// Secondary addresses and prefixes.
    pub units: BTreeSet<Unit>,
    /// Security groups.
    pub groups: BTreeSet<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Whether this cluster made it. Others are used, but never detached.
    pub owned: bool,
    /// `None`: it is attached to nothing.
    pub attachment: Option<Attachment>,
}

/// Where an interface is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// `eni-attach-...`.
    pub id: String,
    /// Index of the network card.
    pub card: u8,
    /// Index of the device on the card.
    pub index: u8,
    /// Whether it ends with the instance.
    pub delete_on_termination: bool,
}

impl Eni {
    /// Whether it is attached and its addresses are for pods.
    pub fn is_used(&self, settings: &Settings) -> bool {
        let excluded = &settings.exclude_interface_tags;
        let left_alone = !excluded.is_empty() && has_tags(&self.tags, excluded);
        self.attachment.as_ref().is_some_and(|at| at.is_used(settings)) && !left_alone
    }

    /// The addresses that pods may have.
    pub fn allocatable(&self, settings: &Settings) -> BTreeSet<Unit> {
        let mut units = self.units.clone();
        let first = self.attachment.as_ref().is_some_and(|at| at.card == 0 && at.index == 0);
        if settings.use_primary_address && !first {
            units.insert(Unit::Address(self.primary));
        }
        units
    }
}

/// What a node was told of an interface. It counts as somebody else's until it is described.
impl From<&Interface> for Eni {
    fn from(told: &Interface) -> Self {
        let units = told.units.iter().copied();
        Self {
            id: told.id.clone(),
            mac: told.mac.clone(),
            vpc: String::new(),
            subnet: told.subnet.clone(),
            primary: told.primary,
            units: units.filter(|unit| *unit != Unit::Address(told.primary)).collect(),
            groups: BTreeSet::new(),
            tags: BTreeMap::new(),
            owned: false,
            attachment: Some(Attachment {
                id: String::new(),
                card: told.card,
                index: told.index,
                delete_on_termination: true,
            }),
        }
    }
}

impl Attachment {
    /// Only the devices of the first card are counted from `first_interface_index`: on the others
    /// there is no interface that the instance began with.
    fn is_used(&self, settings: &Settings) -> bool {
        self.card > 0 || self.index >= settings.first_interface_index
    }
}
