//! What leaves by the node's first interface although a pod sent it, in the network namespace of the
//! calling thread.
//!
//! A packet of a pod leaves by the interface that has the pod's address ([`uplinks`](crate::uplinks)). Two
//! kinds of connections have an address of the node itself outside, and so belong to the main table:
//!
//! - those that came to a port of the node (`hostPort`, `NodePort`) and were translated to a pod: their
//!   answers carry the node's address, and the VPC drops them behind any other interface;
//! - where masquerade is on, those that a pod begins to somewhere outside the VPC: the address of the first
//!   interface is the only one that has a public address in a public subnet.
//!
//! A connection is judged once, by its first packet, and the verdict is a bit of its mark
//! ([`MAIN_MARK`]): one that came from outside straight to a pod (a load balancer with `ip` targets that
//! keeps clients' addresses) is never touched, and what was begun before masquerade was switched on or off
//! goes on as it was.
//!
//! ```text
//! table ip penstock-pods {
//!   chain arriving   prerouting, mangle (-150): before destinations are translated
//!     iifname != "pst*" iif != FURTHER ct direction original fib daddr type local   ct mark |= 0x40
//!   chain leaving    prerouting, -90: after destinations are translated: a Service's address is a pod's here
//!     iifname "pst*" ct state new ip daddr != CIDR ... fib daddr type unicast       ct mark |= 0x40
//!     iifname "pst*" ct mark & 0x40 == 0x40                                   meta mark |= 0x40
//!   chain translating nat postrouting, srcnat (100)
//!     meta mark & 0x40 == 0x40 counter                             masquerade fully-random
//!   chain gone       postrouting, 110
//!     meta mark & 0x40 == 0x40                                     meta mark &= ~0x40
//! }
//! rule 1024: fwmark 0x40/0x40 lookup main          after the routes to pods, before sources of pods
//! ```
//!
//! The first rule of `leaving` and the chain `translating` are there only where masquerade is on.
//!
//! Strict reverse-path filtering (RFC 3704 section 2.2, `rp_filter` 1) would drop what comes back by the
//! first interface for a pod of another: by its source rule, the pod's packets leave elsewhere.
//! [`admit`] makes it loose (2) there, as the AWS VPC CNI does.

use crate::{
    devices::Device,
    error::NetError,
    netlink::{ACK, CREATE, EXCLUSIVE, Message, Netlink},
    nft::{
        CT_DIRECTION, CT_MARK, CT_STATE, IN_DEVICE, IN_DEVICE_NAME, IPV4, MARK, POSTROUTING,
        PREROUTING, Place, TO4, Table, bits, counter, destination, destination_kind, different,
        equal, load, load_ct, marked, masquerade, store, store_ct, transaction,
    },
    pods::{INET, MAIN_TABLE, PREFIX, RP_FILTER, configure, forwarding},
    routes::{
        DELETE_RULE, NEW_RULE, PROTOCOL, RULE_MARK, RULE_MASK, RULE_PRIORITY, RULE_PROTOCOL,
        RULE_TABLE, TO_TABLE, is,
    },
};
use ipnet::Ipv4Net;
use penstock_ebpf_common::MARK_MASK;
use rustix::io::Errno;
use std::{fs, io, net::Ipv4Addr};

/// The bit of a connection's and of a packet's mark that says that the main table routes it. Others use
/// other bits: the gateway [`MARK_MASK`], Kubernetes 0x4000 and 0x8000, the portmap plugin 0x2000, the AWS
/// VPC CNI 0x80, Cilium 0x0f00 and the upper half, Calico, Tailscale and Weave bits of the upper half.
pub const MAIN_MARK: u32 = 0x40;
const _: () = assert!(MAIN_MARK & (MARK_MASK | 0x80 | 0x0f00 | 0xc000 | 0xffff_0000) == 0);

/// The table.
const TABLE: Table = Table { name: "penstock-pods", family: IPV4 };
const ARRIVING: Chain = Chain("arriving", PREROUTING, -150, "filter");
/// `NF_IP_PRI_NAT_DST` is -100.
const LEAVING: Chain = Chain("leaving", PREROUTING, -90, "filter");
const TRANSLATING: Chain = Chain("translating", POSTROUTING, 100, "nat");
const GONE: Chain = Chain("gone", POSTROUTING, 110, "filter");
const PRIORITY: u32 = 1024;

/// What is of the link alone (RFC 3927): metadata, DNS and time of EC2 among it.
const LINK_LOCAL: (Ipv4Addr, u8) = (Ipv4Addr::new(169, 254, 0, 0), 16);

/// `NF_CT_STATE_BIT(IP_CT_NEW)`; `IP_CT_DIR_ORIGINAL`.
const NEW: u32 = 8;
const ORIGINAL: u8 = 0;
/// `RTN_UNICAST`, `RTN_LOCAL` (linux/rtnetlink.h).
const UNICAST: u32 = 1;
const LOCAL: u32 = 2;
/// `rp_filter`, by what it asks of a source (linux, ip-sysctl): strict and loose.
const STRICT: u32 = 1;
const LOOSE: u32 = 2;

/// Name, hook, priority, type.
struct Chain(&'static str, u32, i32, &'static str);

impl Chain {
    fn message(&self) -> Message {
        TABLE.chain(self.0, Place { hook: self.1, priority: self.2, kind: self.3 })
    }

    fn rule(&self, expressions: impl FnOnce(Message) -> Message) -> Message {
        TABLE.rule(self.0, expressions)
    }
}

/// Makes table and rule, or replaces them. `inside`: networks to which pods send with their own address;
/// `None`: to everywhere. `further`: devices (by index) of interfaces that have a table of their own.
///
/// # Errors
/// No CAP_NET_ADMIN, or a kernel without nftables, its connection tracking or its `fib`.
pub fn set(inside: Option<&[Ipv4Net]>, further: &[u32]) -> Result<(), NetError> {
    let fail = NetError::netlink("the table of nftables for packets of pods");
    let mut messages = TABLE.renewed();
    messages.push(ARRIVING.message());
    messages.push(ARRIVING.rule(|rule| main_connection(arriving(rule, further))));
    messages.push(LEAVING.message());
    if let Some(inside) = inside {
        messages.push(LEAVING.rule(|rule| main_connection(begun_to_outside(rule, inside))));
    }
    messages.push(LEAVING.rule(|rule| {
        let rule = of_main(load_ct(from_pod(rule), CT_MARK));
        store(with_mark(load(rule, MARK)), MARK)
    }));
    if inside.is_some() {
        messages.push(TRANSLATING.message());
        messages
            .push(TRANSLATING.rule(|rule| masquerade(counter(marked(rule, MAIN_MARK, MAIN_MARK)))));
    }
    messages.push(GONE.message());
    messages.push(GONE.rule(|rule| {
        let rule = load(marked(rule, MAIN_MARK, MAIN_MARK), MARK);
        store(bits(rule, (!MAIN_MARK).to_ne_bytes(), [0; 4]), MARK)
    }));
    transaction(messages).map_err(&fail)?;
    rule(NEW_RULE, CREATE | EXCLUSIVE, Errno::EXIST)
}

/// Takes table and rule away, if they are there.
///
/// # Errors
/// No CAP_NET_ADMIN.
pub fn remove() -> Result<(), NetError> {
    match transaction(TABLE.gone()) {
        // No nftables, so no table.
        Err(error) if is(&error, &[Errno::OPNOTSUPP]) => {}
        other => other.map_err(NetError::netlink("removing the table for packets of pods"))?,
    }
    rule(DELETE_RULE, 0, Errno::NOENT)
}

/// Connections that got the node's address since the table was made last; 0 where masquerade is off.
///
/// # Errors
/// No CAP_NET_ADMIN.
pub fn masqueraded() -> Result<u64, NetError> {
    // Chains of the type `nat` see the first packet of each connection.
    TABLE.counted(TRANSLATING.0).map_err(NetError::netlink("counting connections of pods"))
}

/// Lets packets to pods in by a device by which theirs need not leave: forwards what comes by it, and makes
/// reverse-path filtering loose where it is strict. Says whether it was. What uninstalls leaves it so:
/// nobody knows what it was before.
///
/// # Errors
/// The device is gone, or no CAP_NET_ADMIN.
pub fn admit(device: &Device) -> Result<bool, NetError> {
    let fail = NetError::netlink("letting packets to pods in");
    let netlink = Netlink::route().map_err(&fail)?;
    netlink.change(forwarding(device.index)).map_err(&fail)?;
    // What counts is the greater of the two (linux, ip-sysctl, rp_filter).
    let of = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"))?;
        text.trim().parse::<u32>().map_err(io::Error::other)
    };
    let both = of("all").and_then(|all| Ok(all.max(of(&device.name)?)));
    let is_strict = both.map_err(&fail)? == STRICT;
    if is_strict {
        netlink.change(configure(device.index, RP_FILTER, LOOSE)).map_err(&fail)?;
    }
    Ok(is_strict)
}

fn rule(kind: u16, flags: u16, content: Errno) -> Result<(), NetError> {
    let header = [INET, 0, 0, 0, 0, 0, 0, TO_TABLE, 0, 0, 0, 0];
    let message = Message::new(kind, flags | ACK, &header)
        .number(RULE_PRIORITY, PRIORITY)
        .number(RULE_TABLE, MAIN_TABLE)
        .number(RULE_MARK, MAIN_MARK)
        .number(RULE_MASK, MAIN_MARK)
        .attribute(RULE_PROTOCOL, &[PROTOCOL]);
    match Netlink::route().and_then(|netlink| netlink.change(message)) {
        Err(error) if is(&error, &[content]) => Ok(()),
        result => result.map_err(NetError::netlink("the rule for what leaves by the main table")),
    }
}

/// What others send to the node itself, but for what comes by a further interface: its answers leave by
/// that one's own rule.
fn arriving(list: Message, further: &[u32]) -> Message {
    let list = different(load(list, IN_DEVICE_NAME), PREFIX.as_bytes());
    let list = further
        .iter()
        .fold(list, |list, device| different(load(list, IN_DEVICE), &device.to_ne_bytes()));
    let list = equal(load_ct(list, CT_DIRECTION), &[ORIGINAL]);
    equal(destination_kind(list), &LOCAL.to_ne_bytes())
}

/// The first packet of a connection that a pod begins, to one host that is neither in these networks nor
/// this node.
fn begun_to_outside(list: Message, inside: &[Ipv4Net]) -> Message {
    let list = bits(load_ct(from_pod(list), CT_STATE), NEW.to_ne_bytes(), [0; 4]);
    let list = different(list, &[0; 4]);
    let inside = inside.iter().map(|network| (network.network(), network.prefix_len()));
    let list = inside.chain([LINK_LOCAL]).fold(list, |list, (network, length)| {
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        let list = bits(destination(list, &TO4), mask.to_be_bytes(), [0; 4]);
        different(list, &network.octets())
    });
    equal(destination_kind(list), &UNICAST.to_ne_bytes())
}

/// By the name of the device on the node's side, whose beginning is compared.
fn from_pod(list: Message) -> Message {
    equal(load(list, IN_DEVICE_NAME), PREFIX.as_bytes())
}

/// Goes on where the register has our bit.
fn of_main(list: Message) -> Message {
    equal(bits(list, MAIN_MARK.to_ne_bytes(), [0; 4]), &MAIN_MARK.to_ne_bytes())
}

/// Sets our bit in the register.
fn with_mark(list: Message) -> Message {
    bits(list, (!MAIN_MARK).to_ne_bytes(), MAIN_MARK.to_ne_bytes())
}

/// The connection is one of the main table from now on.
fn main_connection(list: Message) -> Message {
    store_ct(with_mark(load_ct(list, CT_MARK)), CT_MARK)
}
