//! Devices of interfaces and of pods, as the node's kernel has them.

use penstock_cni::Alias;
use penstock_config::address::{Interface, InterfaceId, Unit};
use penstock_net::{
    NetError, devices, pods,
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
    /// What was set up: nothing is asked again as long as it is the same.
    set: Option<Vec<Uplink>>,
}

impl Wiring for NodeWiring {
    fn bring(
        &mut self,
        interfaces: &BTreeMap<InterfaceId, Interface>,
    ) -> Result<BTreeMap<InterfaceId, u32>, NetError> {
        let devices = devices()?;
        let by_mac: BTreeMap<_, _> = devices
            .iter()
            // What lies on a device has the same MAC: a VLAN, a bridge.
            .filter(|device| device.ethernet && !device.loopback && is_plain(&device.kind))
            .map(|device| (text(device.mac), device))
            .collect();
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
            self.set = Some(wanted);
        }
        Ok(ready)
    }

    fn pods(&self) -> Result<Vec<Alias>, NetError> {
        Ok(pods::wires()?.iter().filter_map(|device| device.alias.parse().ok()).collect())
    }
}

/// Hardware has no kind; an end of a pair stands for it in a test.
fn is_plain(kind: &str) -> bool {
    kind.is_empty() || kind == "veth"
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
