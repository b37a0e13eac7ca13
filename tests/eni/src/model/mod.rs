//! What EC2 documents of network interfaces.

mod calls;
mod error;
mod space;

pub use calls::{Created, NewInterface};
pub use error::Ec2Error;
pub use space::Space;

use penstock_config::address::{Block, InterfaceId, Unit};
use penstock_eni::{Attachment, Card, Limits};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// A subnet.
#[derive(Clone, Debug)]
pub struct ModelSubnet {
    /// Availability zone.
    pub zone: String,
    /// Its VPC.
    pub vpc: String,
    /// Its addresses.
    pub space: Space,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// An instance.
#[derive(Clone, Debug)]
pub struct ModelInstance {
    /// What its type can have.
    pub limits: Limits,
    /// Whether it is running.
    pub running: bool,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInterface {
    /// Its identity.
    pub id: InterfaceId,
    /// Its MAC.
    pub mac: String,
    /// Its subnet.
    pub subnet: String,
    /// Its own address.
    pub primary: Ipv4Addr,
    /// Secondary addresses.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// Prefixes.
    pub prefixes: BTreeSet<Block>,
    /// Security groups.
    pub groups: BTreeSet<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Where it is attached.
    pub attached: Option<(String, Attachment)>,
}

impl ModelInterface {
    /// Secondary addresses and prefixes.
    pub fn units(&self) -> BTreeSet<Unit> {
        let addresses = self.addresses.iter().map(|address| Unit::Address(*address));
        addresses.chain(self.prefixes.iter().map(|block| Unit::Block(*block))).collect()
    }
}

/// Network interfaces of an account in a region.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Subnets by id.
    pub subnets: BTreeMap<String, ModelSubnet>,
    /// Instances by id.
    pub instances: BTreeMap<String, ModelInstance>,
    /// Security groups and their VPC.
    pub groups: BTreeMap<String, String>,
    /// Tags of security groups that have some.
    pub group_tags: BTreeMap<String, BTreeMap<String, String>>,
    /// Interfaces by id.
    pub interfaces: BTreeMap<InterfaceId, ModelInterface>,
    /// Instance types and what they can have.
    pub types: BTreeMap<String, Limits>,
    /// Interfaces that the account may have.
    pub quota: usize,
    tokens: BTreeMap<String, (NewInterface, InterfaceId)>,
    count: u64,
}

impl Model {
    /// Nothing yet, with EC2's default quota.
    pub fn new() -> Self {
        let types = [
            ("m5.large", Limits::one_card(3, 10, true)),
            ("m4.large", Limits::one_card(2, 10, false)),
            (
                "p4d.24xlarge",
                Limits {
                    addresses: 50,
                    interfaces: 60,
                    cards: (0..4).map(|card| (card, Card { interfaces: 15 })).collect(),
                    prefixes: true,
                },
            ),
        ];
        let types = types.map(|(kind, limits)| (kind.to_owned(), limits)).into();
        Self { quota: 5000, types, ..Self::default() }
    }

    /// An instance with the interface that it begins with.
    ///
    /// # Errors
    /// Where the subnet is not there or full.
    pub fn launch(
        &mut self,
        id: &str,
        limits: Limits,
        subnet: &str,
        groups: &[&str],
    ) -> Result<InterfaceId, Ec2Error> {
        let instance = ModelInstance { limits, running: true };
        self.instances.insert(id.to_owned(), instance);
        let new = NewInterface {
            subnet: subnet.to_owned(),
            groups: groups.iter().map(|&id| id.to_owned()).collect(),
            ..NewInterface::default()
        };
        let eni = self.create_network_interface(&new, "")?.interface.id;
        self.attach_network_interface(&eni, id, 0, 0)?;
        if let Some((_, at)) = self.interfaces.get_mut(&eni).and_then(|eni| eni.attached.as_mut()) {
            at.delete_on_termination = true;
        }
        Ok(eni)
    }

    /// The same, where the interface is there already.
    ///
    /// # Errors
    /// Where the subnet is not there or full, or the address taken.
    pub fn launch_at(
        &mut self,
        id: &str,
        limits: Limits,
        subnet: &str,
        groups: &[&str],
        (address, mac): (Ipv4Addr, &str),
    ) -> Result<InterfaceId, Ec2Error> {
        let claimed = self.subnets.get_mut(subnet).is_some_and(|s| s.space.claim(address));
        if !claimed {
            let message = format!("Address {address} is in use.");
            return Err(Ec2Error { code: "InvalidIPAddress.InUse", message });
        }
        let eni = self.launch(id, limits, subnet, groups)?;
        if let Some(interface) = self.interfaces.get_mut(&eni) {
            let first = std::mem::replace(&mut interface.primary, address);
            mac.clone_into(&mut interface.mac);
            if let Some(subnet) = self.subnets.get_mut(subnet) {
                subnet.space.give([first]);
            }
        }
        Ok(eni)
    }

    /// The instance ends, and its interfaces with it unless they are kept.
    pub fn terminate(&mut self, id: &str) {
        self.instances.remove(id);
        let here: Vec<_> = self
            .interfaces
            .values()
            .filter(|eni| eni.attached.as_ref().is_some_and(|(instance, _)| instance == id))
            .map(|eni| eni.id.clone())
            .collect();
        for eni in here {
            let ends = self.interfaces.get_mut(&eni).and_then(|eni| eni.attached.take());
            if ends.is_some_and(|(_, at)| at.delete_on_termination) {
                let _ = self.delete_network_interface(&eni);
            }
        }
    }

    /// A number that no call had before.
    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }
}
