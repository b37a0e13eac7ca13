//! The wire of a pod: a pair of devices, one end in the pod's network namespace, and the route to it.
//!
//! ```text
//! pod:  eth0     ADDRESS/32, MAC 0a:58:ADDRESS
//!                169.254.1.1 dev eth0, default via 169.254.1.1, whose MAC is known: nothing is asked
//! node: pstHASH  MAC 0a:58:169.254.1.1; its alias names whose it is
//!                rule 512: lookup 2048, table 2048: ADDRESS dev pstHASH
//! ```
//!
//! Pods of one node reach each other by that table, which comes before the rules of
//! [`uplinks`](crate::uplinks): by those packets of pods leave the node.

use crate::{
    devices::{Device, devices, index_of},
    error::NetError,
    netlink::{ACK, CREATE, EXCLUSIVE, Message, Netlink},
    routes::{
        DELETE_RULE, DESTINATION, DEVICE, HEADER, NEW_ROUTE, NEW_RULE, PROTOCOL, RULE_PRIORITY,
        RULE_PROTOCOL, RULE_TABLE, TABLE, TO_TABLE, is,
    },
};
use rustix::{
    io::Errno,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd as _, BorrowedFd},
};

/// The table of routes to pods.
pub const PODS_TABLE: u32 = 2048;
/// What pods send everything to.
pub const POD_GATEWAY: Ipv4Addr =
    Ipv4Addr::from_bits(u32::from_be_bytes(penstock_ebpf_common::POD_GATEWAY));
/// With what the names of devices on the node's side begin.
pub const PREFIX: &str = "pst";

const PODS_PRIORITY: u32 = 512;

/// Message types (linux/rtnetlink.h).
const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
pub(crate) const SET_LINK: u16 = 19;
pub(crate) const NEW_ADDRESS: u16 = 20;
const NEW_NEIGHBOUR: u16 = 28;
/// `IFLA_*` (linux/if_link.h).
const LINK_MAC: u16 = 1;
const LINK_NAME: u16 = 3;
const LINK_MTU: u16 = 4;
const LINK_INFO: u16 = 18;
const LINK_ALIAS: u16 = 20;
const LINK_FAMILIES: u16 = 26;
const LINK_NAMESPACE: u16 = 28;
/// `IFLA_INFO_KIND`, `IFLA_INFO_DATA`, `VETH_INFO_PEER`, `IFLA_INET_CONF`.
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const PEER: u16 = 1;
const INET_CONF: u16 = 1;
/// `IPV4_DEVCONF_FORWARDING`, `_RP_FILTER` (linux/ip.h).
const FORWARDING: u16 = 1;
pub(crate) const RP_FILTER: u16 = 8;
/// `IFA_ADDRESS`, `IFA_LOCAL`.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
/// `RTA_GATEWAY`; `NDA_DST`, `NDA_LLADDR`, `NUD_PERMANENT`.
pub(crate) const ROUTE_GATEWAY: u16 = 5;
const NEIGHBOUR: u16 = 1;
const NEIGHBOUR_MAC: u16 = 2;
const PERMANENT: u16 = 0x80;
/// `AF_INET`, `IFF_UP`, `RTN_UNICAST`, `RT_SCOPE_LINK`, `RT_TABLE_MAIN`.
pub(crate) const INET: u8 = 2;
const UP: u32 = 1;
pub(crate) const UNICAST: u8 = 1;
pub(crate) const LINK_SCOPE: u8 = 253;
pub(crate) const MAIN_TABLE: u32 = 254;
/// `RTNH_F_ONLINK`: a gateway need not lie in a subnet of the device.
pub(crate) const ONLINK: u32 = 4;
/// Length of `struct ifinfomsg`.
const LINK_HEADER: usize = 16;

/// A pod's wire, as it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Name of the device in the pod.
    pub device: String,
    /// Name of the device on the node.
    pub on_node: String,
    /// What is noted on it.
    pub alias: String,
    /// The pod's address.
    pub address: Ipv4Addr,
    /// The longest packet.
    pub mtu: u32,
}

/// The MAC of a pod's device follows from its address, so that nobody has to ask for it.
pub fn mac(address: Ipv4Addr) -> [u8; 6] {
    penstock_ebpf_common::pod_mac(address.octets())
}

/// Has packets to pods looked up before all others; what is there already is left alone.
///
/// # Errors
/// No CAP_NET_ADMIN, or a kernel without policy routing.
pub fn install() -> Result<(), NetError> {
    rule(NEW_RULE, CREATE | EXCLUSIVE, Errno::EXIST)
}

/// Takes that away. The devices of pods stay: they are theirs.
///
/// # Errors
/// No CAP_NET_ADMIN.
pub fn remove() -> Result<(), NetError> {
    rule(DELETE_RULE, 0, Errno::NOENT)
}

fn rule(kind: u16, flags: u16, content: Errno) -> Result<(), NetError> {
    let header = [INET, 0, 0, 0, 0, 0, 0, TO_TABLE, 0, 0, 0, 0];
    let message = Message::new(kind, flags | ACK, &header)
        .number(RULE_PRIORITY, PODS_PRIORITY)
        .number(RULE_TABLE, PODS_TABLE)
        .attribute(RULE_PROTOCOL, &[PROTOCOL]);
    let result = Netlink::route().and_then(|netlink| netlink.change(message));
    match result {
        Err(error) if is(&error, &[content]) => Ok(()),
        result => result.map_err(NetError::netlink("the rule for packets to pods")),
    }
}

/// Makes a wire between the calling thread's network namespace and a pod's; in place of one that an
/// attempt before left half made. The route comes last: a pod that can be reached is set up.
///
/// # Errors
/// The kernel refuses something; nothing is left then.
pub fn connect(wire: &Wire, pod: BorrowedFd<'_>) -> Result<(), NetError> {
    disconnect(&wire.on_node)?;
    let made = || -> io::Result<()> {
        let netlink = Netlink::route()?;
        netlink.change(pair(wire, pod))?;
        let index = index_of(&netlink, &wire.on_node)?;
        netlink.change(on_node(wire, index))?;
        inside(pod, || in_pod(wire))?;
        netlink.change(route(wire.address, index))
    };
    made().map_err(|source| {
        // The first error says more than what comes of it.
        let _ = disconnect(&wire.on_node);
        NetError::netlink("the wire of a pod")(source)
    })
}

/// Takes a wire away, both ends and the route. That there is none is no error.
///
/// # Errors
/// The kernel refuses.
pub fn disconnect(on_node: &str) -> Result<(), NetError> {
    let header = [0; LINK_HEADER];
    let message = Message::new(DELETE_LINK, ACK, &header).text(LINK_NAME, on_node);
    match Netlink::route().and_then(|netlink| netlink.change(message)) {
        Err(error) if is(&error, &[Errno::NODEV]) => Ok(()),
        result => result.map_err(NetError::netlink("removing the wire of a pod")),
    }
}

/// Whether a wire is as it shall be.
///
/// # Errors
/// What is not, in words.
pub fn check(wire: &Wire, pod: BorrowedFd<'_>) -> Result<(), String> {
    let named = |name: &str| {
        let all = devices().map_err(|error| error.to_string())?;
        let device = all.into_iter().find(|device| device.name == name);
        let device = device.ok_or_else(|| format!("there is no device {name}"))?;
        device.up.then_some(device).ok_or_else(|| format!("device {name} is down"))
    };
    let on_node = named(&wire.on_node)?;
    let to_pod = crate::routes::device_towards(wire.address.into());
    match to_pod.map_err(|error| error.to_string())? {
        Some(index) if index == on_node.index => {}
        _ => return Err(format!("{} is not routed to {}", wire.address, wire.on_node)),
    }
    inside(pod, || {
        let in_pod = || -> Result<(), String> {
            named(&wire.device)?;
            let addresses = crate::devices::addresses().map_err(|error| error.to_string())?;
            let has = addresses.contains(&wire.address.into());
            has.then_some(()).ok_or_else(|| format!("the pod has not {} any more", wire.address))
        };
        Ok(in_pod())
    })
    .map_err(|error| error.to_string())?
}

/// The devices of pods on this node.
///
/// # Errors
/// The kernel does not answer.
pub fn wires() -> Result<Vec<Device>, NetError> {
    let mut all = devices()?;
    all.retain(is_wire);
    Ok(all)
}

/// Whether a device of the node is an end of a pod's wire.
pub fn is_wire(device: &Device) -> bool {
    device.kind == "veth" && device.name.starts_with(PREFIX)
}

/// Runs something in another network namespace, on a thread of its own.
fn inside<T: Send>(
    namespace: BorrowedFd<'_>,
    task: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
            task()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn pair(wire: &Wire, pod: BorrowedFd<'_>) -> Message {
    let peer = |peer: Message| {
        peer.text(LINK_NAME, &wire.device)
            .attribute(LINK_MAC, &mac(wire.address))
            .number(LINK_MTU, wire.mtu)
            .attribute(LINK_NAMESPACE, &pod.as_raw_fd().to_ne_bytes())
    };
    Message::new(NEW_LINK, CREATE | EXCLUSIVE | ACK, &[0; LINK_HEADER])
        .text(LINK_NAME, &wire.on_node)
        .attribute(LINK_MAC, &mac(POD_GATEWAY))
        .number(LINK_MTU, wire.mtu)
        .nest(LINK_INFO, |info| {
            info.text(INFO_KIND, "veth")
                .nest(INFO_DATA, |data| data.nest_after(PEER, &[0; LINK_HEADER], peer))
        })
}

/// Sets a device up that packets are forwarded from.
pub(crate) fn forwarding(index: u32) -> Message {
    configure(index, FORWARDING, 1)
}

/// Sets a device up, with something of `/proc/sys/net/ipv4/conf`, which an agent may not write.
pub(crate) fn configure(index: u32, setting: u16, value: u32) -> Message {
    set_up(index).nest(LINK_FAMILIES, |families| {
        families.nest(INET.into(), |inet| inet.nest(INET_CONF, |conf| conf.number(setting, value)))
    })
}

fn on_node(wire: &Wire, index: u32) -> Message {
    forwarding(index).text(LINK_ALIAS, &wire.alias)
}

fn set_up(index: u32) -> Message {
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&UP.to_ne_bytes());
    header[12..16].copy_from_slice(&UP.to_ne_bytes());
    Message::new(SET_LINK, ACK, &header)
}

/// An address with no subnet: neighbours are no business of the device's.
pub(crate) fn address(index: u32, address: Ipv4Addr) -> Message {
    let mut header = [INET, 32, 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    Message::new(NEW_ADDRESS, CREATE | EXCLUSIVE | ACK, &header)
        .attribute(LOCAL, &address.octets())
        .attribute(ADDRESS, &address.octets())
}

fn in_pod(wire: &Wire) -> io::Result<()> {
    let netlink = Netlink::route()?;
    let index = index_of(&netlink, &wire.device)?;
    let mut neighbour = [0; 12];
    neighbour[0] = INET;
    neighbour[4..8].copy_from_slice(&index.to_ne_bytes());
    neighbour[8..10].copy_from_slice(&PERMANENT.to_ne_bytes());
    let to = |length: u8, scope: u8| {
        let header = [INET, length, 0, 0, 0, PROTOCOL, scope, UNICAST, 0, 0, 0, 0];
        let message = Message::new(NEW_ROUTE, CREATE | EXCLUSIVE | ACK, &header);
        message.number(TABLE, MAIN_TABLE).number(DEVICE, index)
    };
    netlink.batch(vec![
        set_up(1),
        set_up(index),
        address(index, wire.address),
        to(32, LINK_SCOPE).attribute(DESTINATION, &POD_GATEWAY.octets()),
        to(0, 0).attribute(ROUTE_GATEWAY, &POD_GATEWAY.octets()),
        Message::new(NEW_NEIGHBOUR, CREATE | ACK, &neighbour)
            .attribute(NEIGHBOUR, &POD_GATEWAY.octets())
            .attribute(NEIGHBOUR_MAC, &mac(POD_GATEWAY)),
    ])
}

fn route(address: Ipv4Addr, index: u32) -> Message {
    let header = [INET, 32, 0, 0, 0, PROTOCOL, LINK_SCOPE, UNICAST, 0, 0, 0, 0];
    debug_assert_eq!(header.len(), HEADER, "struct rtmsg");
    Message::new(NEW_ROUTE, CREATE | EXCLUSIVE | ACK, &header)
        .number(TABLE, PODS_TABLE)
        .number(DEVICE, index)
        .attribute(DESTINATION, &address.octets())
}
