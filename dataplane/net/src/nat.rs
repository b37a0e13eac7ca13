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
//! It is made by netlink and not by `nft`, whose library would be the only thing in the agent's image
//! that is not Rust. The whole table is replaced in one transaction.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use penstock_ebpf_common::{ANSWER_MARK, MARK_MASK, STEERED_MARK, TCP};
use rustix::io::Errno;

use crate::error::NetError;
use crate::netlink::{ACK, APPEND, CREATE, Message, Netlink};

/// The table's name.
pub const TABLE: &str = "penstock";

/// Message types (linux/netfilter/nf_tables.h), of the subsystem `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const NEW_SET: u16 = 9;
const NEW_ELEMENTS: u16 = 12;
/// The messages around a transaction (linux/netfilter/nfnetlink.h).
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
/// `NFPROTO_INET`: both families in one table; `NFPROTO_IPV4`, `NFPROTO_IPV6`.
const INET: u8 = 1;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// Hooks (`NF_INET_*`) and the priority before connection tracking (`NF_IP_PRI_RAW`).
const PREROUTING: u32 = 0;
const OUTPUT: u32 = 3;
const RAW: i32 = -300;
/// The first register, of 16 bytes, and the one of verdicts.
const REGISTER: u32 = 1;
const VERDICT_REGISTER: u32 = 0;
/// `NFTA_DATA_VERDICT`, `NF_DROP`.
const VERDICT: u16 = 2;
const DROP: u32 = 0;
/// `NFTA_LIST_ELEM`, `NFTA_DATA_VALUE`.
const ELEMENT: u16 = 1;
const VALUE: u16 = 1;
/// `NFT_META_*`.
const MARK: u32 = 3;
const IN_DEVICE: u32 = 4;
const OUT_DEVICE: u32 = 7;
const FAMILY: u32 = 15;
const PROTOCOL: u32 = 16;
/// Length of a device's name in a register.
const DEVICE_NAME: usize = 16;

/// A set: name, number within the transaction, type (for those who print it) and length of its keys.
struct Set {
    name: &'static str,
    id: u32,
    key_type: u32,
    length: u32,
}

/// Where a family's destination lies in the header and how long it is.
struct Destination {
    family: u8,
    offset: u32,
    length: u32,
}

const TO4: Destination = Destination { family: IPV4, offset: 16, length: 4 };
const TO6: Destination = Destination { family: IPV6, offset: 24, length: 16 };
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
    let mut messages = gone();
    messages.push(table(NEW_TABLE, CREATE));
    for (set, _) in &HOST {
        messages.push(new_set(set));
        let octets = |address: &IpAddr| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let mut elements: Vec<_> = host.iter().map(octets).collect();
        elements.retain(|octets| octets.len() == set.length as usize);
        elements.sort_unstable();
        elements.dedup();
        // An attribute holds 64 KiB; an element of IPv6 takes 28 bytes.
        messages.extend(elements.chunks(2_000).map(|elements| new_elements(set, elements)));
    }
    messages.push(new_set(&PROXIES));
    let devices: Vec<_> = proxies.iter().map(|index| index.to_ne_bytes().to_vec()).collect();
    if !devices.is_empty() {
        messages.push(new_elements(&PROXIES, &devices));
    }
    messages.push(chain("prerouting", PREROUTING));
    messages.push(chain("output", OUTPUT));
    let (metadata4, metadata6) = METADATA;
    for (to, address) in [(TO4, &metadata4.octets()[..]), (TO6, &metadata6.octets()[..])] {
        messages.push(rule("prerouting", |rule| {
            let rule = lookup(load(rule, IN_DEVICE), &PROXIES);
            discard(equal(destination(rule, &to), address))
        }));
    }
    messages.push(rule("prerouting", |rule| notrack(marked(rule, STEERED_MARK))));
    messages.push(rule("output", |rule| notrack(marked(rule, ANSWER_MARK))));
    for (set, to) in &HOST {
        messages.push(rule("output", |rule| notrack(to_host(rule, set, to))));
    }
    transaction(messages).map_err(NetError::netlink("making the table of nftables"))
}

/// Takes the table away, if it is there.
///
/// # Errors
/// No CAP_NET_ADMIN.
pub fn remove() -> Result<(), NetError> {
    match transaction(gone()) {
        // No nftables, so no table.
        Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => Ok(()),
        other => other.map_err(NetError::netlink("removing the table of nftables")),
    }
}

/// Whether the kernel has nftables with the expressions that [`install`] uses: the table is made in a
/// transaction that takes it away again.
pub(crate) fn probe() -> io::Result<()> {
    let name = "penstock-probe";
    let of = |kind, flags| message(kind, flags).text(1, name);
    let chain = message(NEW_CHAIN, CREATE).text(1, name).text(3, "c");
    let rule = message(NEW_RULE, CREATE | APPEND)
        .text(1, name)
        .text(2, "c")
        .nest(4, |list| notrack(marked(list, STEERED_MARK)));
    transaction(vec![of(NEW_TABLE, CREATE), chain, rule, of(DELETE_TABLE, 0)])
}

/// Makes a table if there is none, and takes it away: so no error where there was none.
fn gone() -> Vec<Message> {
    vec![table(NEW_TABLE, CREATE), table(DELETE_TABLE, 0)]
}

fn transaction(messages: Vec<Message>) -> io::Result<()> {
    let around = |kind| Message::new(kind, 0, &[0, 0, 0, SUBSYSTEM as u8]);
    let mut all = vec![around(BEGIN)];
    all.extend(messages);
    all.push(around(END));
    Netlink::netfilter()?.batch(all)
}

/// A message of the subsystem with `struct nfgenmsg`.
fn message(kind: u16, flags: u16) -> Message {
    Message::new(SUBSYSTEM << 8 | kind, flags | ACK, &[INET, 0, 0, 0])
}

/// `NFTA_TABLE_NAME`.
fn table(kind: u16, flags: u16) -> Message {
    message(kind, flags).text(1, TABLE)
}

/// `NFTA_CHAIN_TABLE`, `_NAME`, `_HOOK` (`_HOOKNUM`, `_PRIORITY`), `_TYPE`.
fn chain(name: &str, hook: u32) -> Message {
    message(NEW_CHAIN, CREATE)
        .text(1, TABLE)
        .text(3, name)
        .nest(4, |inner| inner.number_be(1, hook).number_be(2, RAW.cast_unsigned()))
        .text(7, "filter")
}

/// `NFTA_SET_TABLE`, `_NAME`, `_FLAGS`, `_KEY_TYPE`, `_KEY_LEN`, `_ID`.
fn new_set(set: &Set) -> Message {
    message(NEW_SET, CREATE)
        .text(1, TABLE)
        .text(2, set.name)
        .number_be(3, 0)
        .number_be(4, set.key_type)
        .number_be(5, set.length)
        .number_be(10, set.id)
}

/// `NFTA_SET_ELEM_LIST_TABLE`, `_SET`, `_ELEMENTS`, `_SET_ID`; in it `NFTA_SET_ELEM_KEY`.
fn new_elements(set: &Set, elements: &[Vec<u8>]) -> Message {
    message(NEW_ELEMENTS, CREATE).text(1, TABLE).text(2, set.name).number_be(4, set.id).nest(
        3,
        |list| {
            elements.iter().fold(list, |list, octets| {
                list.nest(ELEMENT, |element| element.nest(1, |key| key.attribute(VALUE, octets)))
            })
        },
    )
}

/// `NFTA_RULE_TABLE`, `_CHAIN`, `_EXPRESSIONS`.
fn rule(chain: &str, expressions: impl FnOnce(Message) -> Message) -> Message {
    message(NEW_RULE, CREATE | APPEND).text(1, TABLE).text(2, chain).nest(4, expressions)
}

/// `NFTA_EXPR_NAME`, `NFTA_EXPR_DATA`.
fn expression(list: Message, name: &str, data: impl FnOnce(Message) -> Message) -> Message {
    list.nest(ELEMENT, |expression| expression.text(1, name).nest(2, data))
}

fn notrack(list: Message) -> Message {
    list.nest(ELEMENT, |expression| expression.text(1, "notrack"))
}

/// `NFTA_IMMEDIATE_DREG`, `_DATA`; in it `NFTA_VERDICT_CODE`.
fn discard(list: Message) -> Message {
    expression(list, "immediate", |data| {
        data.number_be(1, VERDICT_REGISTER)
            .nest(2, |data| data.nest(VERDICT, |verdict| verdict.number_be(1, DROP)))
    })
}

/// `meta mark & MASK == mark`.
fn marked(list: Message, mark: u32) -> Message {
    let list = load(list, MARK);
    // `NFTA_BITWISE_SREG`, `_DREG`, `_LEN`, `_MASK`, `_XOR`.
    let list = expression(list, "bitwise", |data| {
        data.number_be(1, REGISTER)
            .number_be(2, REGISTER)
            .number_be(3, 4)
            .nest(4, |mask| mask.number(VALUE, MARK_MASK))
            .nest(5, |xor| xor.number(VALUE, 0))
    });
    equal(list, &mark.to_ne_bytes())
}

/// `oifname "lo" meta nfproto FAMILY meta l4proto tcp ip daddr @set`.
fn to_host(list: Message, set: &Set, to: &Destination) -> Message {
    let mut loopback = [0; DEVICE_NAME];
    loopback[..2].copy_from_slice(b"lo");
    let list = equal(load(list, OUT_DEVICE), &loopback);
    let list = equal(load(list, PROTOCOL), &[TCP]);
    lookup(destination(list, to), set)
}

/// `meta nfproto FAMILY`, and the destination in the register: `NFTA_PAYLOAD_DREG`, `_BASE` (the network
/// header), `_OFFSET`, `_LEN`.
fn destination(list: Message, to: &Destination) -> Message {
    let list = equal(load(list, FAMILY), &[to.family]);
    expression(list, "payload", |data| {
        data.number_be(1, REGISTER).number_be(2, 1).number_be(3, to.offset).number_be(4, to.length)
    })
}

/// Whether what is in the register is in the set: `NFTA_LOOKUP_SET`, `_SREG`, `_SET_ID`.
fn lookup(list: Message, set: &Set) -> Message {
    expression(list, "lookup", |data| {
        data.text(1, set.name).number_be(2, REGISTER).number_be(4, set.id)
    })
}

/// `NFTA_META_DREG`, `_KEY`.
fn load(list: Message, key: u32) -> Message {
    expression(list, "meta", |data| data.number_be(1, REGISTER).number_be(2, key))
}

/// `NFTA_CMP_SREG`, `_OP` (equal), `_DATA`.
fn equal(list: Message, value: &[u8]) -> Message {
    expression(list, "cmp", |data| {
        data.number_be(1, REGISTER).number_be(2, 0).nest(3, |data| data.attribute(VALUE, value))
    })
}
