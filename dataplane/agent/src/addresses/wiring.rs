//! Devices of interfaces and of pods, as the node's kernel has them.

use super::networks::Networks;
use penstock_cni::Alias;
use penstock_config::address::{Interface, InterfaceId, Unit};
use penstock_net::{
    Device, NetError, devices, egress, pods,
    uplinks::{self, Uplink},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// What the agent asks of the kernel for addresses. A test has one of its own.
pub trait Wiring: Send {
    /// Sets up the devices of these interfaces, as far as they are there, and takes what others had.
    /// Gives the longest packet of each that is ready.
    ///
    /// # Errors
    /// The kernel refuses; it is tried again.
    fn bring(
        &mut self,
        interfaces: &BTreeMap<InterfaceId, Interface>,
    ) -> Result<BTreeMap<InterfaceId, u32>, NetError>;

    /// Who has a device on this node, by the device's alias.
    ///
    /// # Errors
    /// The kernel does not answer.
    fn pods(&self) -> Result<Vec<Alias>, NetError>;
}

/// The kernel of this node, in the network namespace of the calling thread.
#[derive(Debug, Default)]
pub struct NodeWiring {
    /// What pods send elsewhere gets the node's address; `None`: nothing does.
    inside: Option<Networks>,
    /// What was set up: nothing is asked again as long as it is the same.
    set: Option<Vec<Uplink>>,
}

impl NodeWiring {
    /// For a node where what pods send elsewhere than to these networks gets the node's address.
    pub fn new(inside: Option<Networks>) -> Self {
        Self { inside, set: None }
    }

    /// What leaves with the node's address; and by which devices it comes back, although by their
    /// sources the pods' packets leave by others.
    fn egress(&self, there: &[Device], wanted: &[Uplink]) -> Result<(), NetError> {
        let is_further = |uplink: &&Uplink| uplink.place != (0, 0);
        let further: Vec<u32> = wanted.iter().filter(is_further).map(|u| u.device).collect();
        let inside = self.inside.as_ref();
        match egress::set(inside.map(Networks::as_slice), &further) {
            // Pods reach each other and the VPC all the same.
            Err(error) if inside.is_none() => {
                tracing::warn!(
                    "ports of the node may not lead to pods of further interfaces: {error}"
                );
            }
            result => result?,
        }
        // Before the operator has said which are further ones, none can be told from the first.
        let others = there.iter().filter(|d| is_uplink(d) && d.up && !further.contains(&d.index));
        for device in others.filter(|_| !wanted.is_empty()) {
            if egress::admit(device)? {
                tracing::info!(device = device.name, "reverse-path filtering is loose now");
            }
        }
        let sources = wanted.iter().flat_map(|uplink| &uplink.sources);
        let outside =
            |inside: &Networks| sources.map(|s| s.0).find(|source| !inside.contain(*source));
        if let Some(source) = inside.and_then(outside) {
            tracing::warn!(
                %source,
                "ipv4NativeRoutingCIDR has not all of the VPC: what is sent to pods there gets the node's \
                 address; add the CIDR that it is in"
            );
        }
        Ok(())
    }
}

impl Wiring for NodeWiring {
    fn bring(
        &mut self,
        interfaces: &BTreeMap<InterfaceId, Interface>,
    ) -> Result<BTreeMap<InterfaceId, u32>, NetError> {
        let devices = devices()?;
        let uplinks = devices.iter().filter(|device| is_uplink(device));
        let by_mac: BTreeMap<_, _> = uplinks.map(|device| (text(device.mac), device)).collect();
        let (mut wanted, mut ready) = (Vec::new(), BTreeMap::new());
        for interface in interfaces.values() {
            let Some(device) = by_mac.get(&interface.mac) else { continue };
            wanted.push(uplink(interface, device.index));
            ready.insert(interface.id.clone(), device.mtu);
        }
        wanted.sort();
        if self.set.as_ref() != Some(&wanted) {
            pods::install()?;
            self.set = None;
            uplinks::set(&wanted)?;
            self.egress(&devices, &wanted)?;
            self.set = Some(wanted);
        }
        Ok(ready)
    }

    fn pods(&self) -> Result<Vec<Alias>, NetError> {
        Ok(pods::wires()?.iter().filter_map(|device| device.alias.parse().ok()).collect())
    }
}

/// Hardware, which has no kind; an end of a pair stands for it in a test. What lies on a device has the
/// same MAC: a VLAN, a bridge.
fn is_uplink(device: &Device) -> bool {
    let plain = device.kind.is_empty() || device.kind == "veth";
    plain && device.ethernet && !device.loopback && !device.name.starts_with(pods::PREFIX)
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn uplink(interface: &Interface, device: u32) -> Uplink {
    let source = |unit: &Unit| match unit {
        Unit::Address(address) => (*address, 32),
        Unit::Block(block) => (block.first(), 28),
    };
    let sources: BTreeSet<(Ipv4Addr, u8)> = interface.units.iter().map(source).collect();
    Uplink {
        device,
        place: (interface.card, interface.index),
        gateway: interface.gateway,
        // An address that pods may have is theirs.
        primary: Some(interface.primary).filter(|primary| !sources.contains(&(*primary, 32))),
        sources,
    }
}
