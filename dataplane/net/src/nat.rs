//! What nftables does for us, in the network namespace of the calling thread: it keeps steered connections
//! from NAT, and the proxies from the metadata of the cloud's instance.
//!
//! kube-proxy translates what goes to a Service's address, and a LoadBalancer Service of a Gateway has
//! the very address that the programs steer by. A connection that is not tracked is not translated, so
//! one table of nftables has these rules, before connection tracking (priority `raw`, -300):
//!
//! ```text
//! table inet penstock {
//!   set host4, host6                                 addresses that processes of the node dial
//!   set proxies                                      devices of the pods of proxies
//!   chain prerouting: meta iif @proxies ip daddr 169.254.169.254 drop  (and ip6 fd00:ec2::254)
//!                     meta mark & 0x3000 == 0x1000 notrack       what the programs marked
//!   chain output:     meta mark & 0x3000 == 0x2000 notrack       what the workers answer
//!                     meta oifname "lo" tcp ip daddr @host4 notrack   (and ip6): not marked yet here
//! }
//! ```
//!
//! With the instance's metadata come the node's credentials. The hop limit of its answers keeps them from
//! pods only where it is 1, and node groups of EKS have 2. A pod is known by its device here, and not by
//! its address: the device goes with the pod, and its address may be another's next.
//!
//! The whole table is replaced in one transaction.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use penstock_ebpf_common::{ANSWER_MARK, MARK_MASK, STEERED_MARK, TCP};
use rustix::io::Errno;

use crate::error::NetError;
use crate::netlink::Message;
use crate::nft::{
    Destination, FAMILY, IN_DEVICE, INET, OUT_DEVICE_NAME, OUTPUT, PREROUTING, PROTOCOL, Place,
    Set, TO4, TO6, Table, destination, discard, equal, load, lookup, marked, notrack, transaction,
};

/// The table.
const TABLE: Table = Table { name: "penstock", family: INET };
/// The priority before connection tracking (`NF_IP_PRI_RAW`).
const RAW: i32 = -300;
/// Length of a device's name in a register.
const DEVICE_NAME: usize = 16;

const HOST: [(Set, Destination); 2] = [
    (Set { name: "host4", id: 1, key_type: 7, length: 4 }, TO4),
    (Set { name: "host6", id: 2, key_type: 8, length: 16 }, TO6),
];
const PROXIES: Set = Set { name: "proxies", id: 3, key_type: 20, length: 4 };
/// Where instances of EC2 find their metadata.
pub const METADATA: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(169, 254, 169, 254), Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254));

/// Makes the table, or replaces it: `host` are the addresses that processes of the node dial (see
/// [`crate::routes::set_host`]), `proxies` the devices (by index) from which nobody reaches [`METADATA`].
///
/// # Errors
/// No CAP_NET_ADMIN, or a kernel without nftables or its connection tracking.
pub fn install(host: &[IpAddr], proxies: &[u32]) -> Result<(), NetError> {
    let mut messages = TABLE.renewed();
    for (set, _) in &HOST {
        messages.push(TABLE.set(set));
        let octets = |address: &IpAddr| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let mut elements: Vec<_> = host.iter().map(octets).collect();
        elements.retain(|octets| octets.len() == set.length as usize);
        elements.sort_unstable();
        elements.dedup();
        // An attribute holds 64 KiB; an element of IPv6 takes 28 bytes.
        messages.extend(elements.chunks(2_000).map(|elements| TABLE.elements(set, elements)));
    }
    messages.push(TABLE.set(&PROXIES));
    let devices: Vec<_> = proxies.iter().map(|index| index.to_ne_bytes().to_vec()).collect();
    if !devices.is_empty() {
        messages.push(TABLE.elements(&PROXIES, &devices));
    }
    for (chain, hook) in [("prerouting", PREROUTING), ("output", OUTPUT)] {
        messages.push(TABLE.chain(chain, Place { hook, priority: RAW, kind: "filter" }));
    }
    let (metadata4, metadata6) = METADATA;
    for (to, address) in [(TO4, &metadata4.octets()[..]), (TO6, &metadata6.octets()[..])] {
        messages.push(TABLE.rule("prerouting", |rule| {
            let rule = lookup(load(rule, IN_DEVICE), &PROXIES);
            discard(equal(of_family(rule, &to), address))
        }));
    }
    let untracked = |chain, mark| TABLE.rule(chain, |rule| notrack(marked(rule, mark, MARK_MASK)));
    messages.push(untracked("prerouting", STEERED_MARK));
    messages.push(untracked("output", ANSWER_MARK));
    for (set, to) in &HOST {
        messages.push(TABLE.rule("output", |rule| notrack(to_host(rule, set, to))));
    }
    transaction(messages).map_err(NetError::netlink("making the table of nftables"))
}

/// Takes the table away, if it is there.
///
/// # Errors
/// No CAP_NET_ADMIN.
pub fn remove() -> Result<(), NetError> {
    match transaction(TABLE.gone()) {
        // No nftables, so no table.
        Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => Ok(()),
        other => other.map_err(NetError::netlink("removing the table of nftables")),
    }
}

/// Whether the kernel has nftables with the expressions that [`install`] uses: the table is made in a
/// transaction that takes it away again.
pub(crate) fn probe() -> io::Result<()> {
    let table = Table { name: "penstock-probe", ..TABLE };
    let rule = table.rule("c", |list| notrack(marked(list, STEERED_MARK, MARK_MASK)));
    let mut messages = table.renewed();
    messages.extend([table.loose_chain("c"), rule]);
    messages.extend(table.gone());
    transaction(messages)
}

/// `oifname "lo" meta nfproto FAMILY meta l4proto tcp ip daddr @set`.
fn to_host(list: Message, set: &Set, to: &Destination) -> Message {
    let mut loopback = [0; DEVICE_NAME];
    loopback[..2].copy_from_slice(b"lo");
    let list = equal(load(list, OUT_DEVICE_NAME), &loopback);
    let list = equal(load(list, PROTOCOL), &[TCP]);
    lookup(of_family(list, to), set)
}

/// `meta nfproto FAMILY`, and the destination in the register.
fn of_family(list: Message, to: &Destination) -> Message {
    destination(equal(load(list, FAMILY), &[to.family]), to)
}
