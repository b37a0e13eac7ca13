//! By which device packets of pods leave the node: that of the interface that has their address, since
//! the VPC drops packets whose source an interface has not.
//!
//! ```text
//! rule 1536: from UNIT lookup 2049 + 64 * CARD + INDEX
//!            table ...: GATEWAY dev ethN, default via GATEWAY dev ethN
//! ```
//!
//! The node's first interface needs none: the node's own routes lead there.

use crate::{
    devices::{ip, word_of},
    error::NetError,
    netlink::{ACK, Answer, CREATE, EXCLUSIVE, Message, Netlink},
    pods::{INET, LINK_SCOPE, ONLINK, ROUTE_GATEWAY, UNICAST, address, forwarding},
    routes::{
        DELETE_ROUTE, DELETE_RULE, DESTINATION, DEVICE, GET_ROUTE, HEADER, NEW_ROUTE, NEW_RULE,
        PROTOCOL, RULE_PRIORITY, RULE_PROTOCOL, RULE_TABLE, TABLE, TO_TABLE, is,
    },
};
use rustix::io::Errno;
use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr},
};

/// Tables of interfaces, by place.
const TABLES: std::ops::Range<u32> = 2049..4096;
const PRIORITY: u32 = 1536;
/// `RTM_GETRULE`, `FRA_SRC`.
const GET_RULE: u16 = 34;
const RULE_SOURCE: u16 = 2;

/// A device that leads to the VPC, as it shall be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uplink {
    /// The device's number in the namespace.
    pub device: u32,
    /// Index of its network card, and of the device on it.
    pub place: (u8, u8),
    /// The VPC's router in its subnet.
    pub gateway: Ipv4Addr,
    /// An address that the device shall have itself.
    pub primary: Option<Ipv4Addr>,
    /// Addresses of pods: each the first of so many bits.
    pub sources: BTreeSet<(Ipv4Addr, u8)>,
}

impl Uplink {
    fn is_first(&self) -> bool {
        self.place == (0, 0)
    }

    fn table(&self) -> u32 {
        TABLES.start + 64 * u32::from(self.place.0) + u32::from(self.place.1)
    }

    fn rules(&self) -> impl Iterator<Item = Rule> + '_ {
        let own = self.primary.map(|primary| (primary, 32));
        let sources = self.sources.iter().copied().chain(own).filter(|_| !self.is_first());
        sources.map(|(source, bits)| Rule { source, bits, table: self.table() })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    source: Ipv4Addr,
    bits: u8,
    table: u32,
}

/// Brings devices, rules and routes to these and no others. A second call changes nothing.
///
/// # Errors
/// The kernel refuses something; what was done before stays, and a next call does the rest.
pub fn set(uplinks: &[Uplink]) -> Result<(), NetError> {
    let fail = NetError::netlink("the way of packets of pods out of the node");
    let netlink = Netlink::route().map_err(&fail)?;
    let bring = || -> io::Result<()> {
        let first = rules(&netlink)?;
        let wanted: BTreeSet<Rule> = uplinks.iter().flat_map(Uplink::rules).collect();
        for uplink in uplinks {
            netlink.change(forwarding(uplink.device))?;
            if let Some(primary) = uplink.primary.filter(|_| !uplink.is_first()) {
                content(netlink.change(address(uplink.device, primary)), Errno::EXIST)?;
            }
        }
        bring_routes(&netlink, uplinks)?;
        for new in wanted.difference(&first) {
            content(netlink.change(rule(NEW_RULE, CREATE | EXCLUSIVE, *new)), Errno::EXIST)?;
        }
        for gone in first.difference(&wanted) {
            content(netlink.change(rule(DELETE_RULE, 0, *gone)), Errno::NOENT)?;
        }
        Ok(())
    };
    bring().map_err(fail)
}

fn content(result: io::Result<()>, errno: Errno) -> io::Result<()> {
    match result {
        Err(error) if is(&error, &[errno]) => Ok(()),
        result => result,
    }
}

/// Table, device and gateway of a default route; device alone: that to the gateway.
type Route = (u32, u32, Option<Ipv4Addr>, Option<Ipv4Addr>);

fn bring_routes(netlink: &Netlink, uplinks: &[Uplink]) -> io::Result<()> {
    let wanted: BTreeSet<Route> = uplinks
        .iter()
        .filter(|uplink| !uplink.is_first())
        .flat_map(|uplink| {
            let (table, device, gateway) = (uplink.table(), uplink.device, uplink.gateway);
            [(table, device, Some(gateway), None), (table, device, None, Some(gateway))]
        })
        .collect();
    let there = routes(netlink)?;
    // Of one table the old goes first: there is one default route.
    for gone in there.difference(&wanted) {
        content(netlink.change(route(DELETE_ROUTE, 0, *gone)), Errno::SRCH)?;
    }
    // Those to a gateway first: a default route needs it.
    let mut new: Vec<_> = wanted.difference(&there).collect();
    new.sort_by_key(|(_, _, destination, _)| destination.is_none());
    for new in new {
        content(netlink.change(route(NEW_ROUTE, CREATE | EXCLUSIVE, *new)), Errno::EXIST)?;
    }
    Ok(())
}

fn route(kind: u16, flags: u16, (table, device, destination, gateway): Route) -> Message {
    let (length, scope) = match destination {
        Some(_) => (32, LINK_SCOPE),
        None => (0, 0),
    };
    let mut header = [INET, length, 0, 0, 0, PROTOCOL, scope, UNICAST, 0, 0, 0, 0];
    if gateway.is_some() {
        header[8..].copy_from_slice(&ONLINK.to_ne_bytes());
    }
    let mut message =
        Message::new(kind, flags | ACK, &header).number(TABLE, table).number(DEVICE, device);
    if let Some(destination) = destination {
        message = message.attribute(DESTINATION, &destination.octets());
    }
    match gateway {
        Some(gateway) => message.attribute(ROUTE_GATEWAY, &gateway.octets()),
        None => message,
    }
}

/// Our routes in tables of interfaces.
fn routes(netlink: &Netlink) -> io::Result<BTreeSet<Route>> {
    let mut found = BTreeSet::new();
    for answer in netlink.dump(GET_ROUTE, &inet())? {
        let (mut table, mut device, mut destination, mut gateway) = (0, 0, None, None);
        for (kind, payload) in answer.attributes(HEADER) {
            match kind {
                TABLE => table = word_of(payload).unwrap_or(0),
                DEVICE => device = word_of(payload).unwrap_or(0),
                DESTINATION => destination = v4(payload),
                ROUTE_GATEWAY => gateway = v4(payload),
                _ => {}
            }
        }
        if TABLES.contains(&table) && answer.bytes.get(5) == Some(&PROTOCOL) {
            found.insert((table, device, destination, gateway));
        }
    }
    Ok(found)
}

fn rule(kind: u16, flags: u16, rule: Rule) -> Message {
    let header = [INET, 0, rule.bits, 0, 0, 0, 0, TO_TABLE, 0, 0, 0, 0];
    Message::new(kind, flags | ACK, &header)
        .attribute(RULE_SOURCE, &rule.source.octets())
        .number(RULE_PRIORITY, PRIORITY)
        .number(RULE_TABLE, rule.table)
        .attribute(RULE_PROTOCOL, &[PROTOCOL])
}

/// Our rules.
fn rules(netlink: &Netlink) -> io::Result<BTreeSet<Rule>> {
    let of = |answer: &Answer| {
        let bits = *answer.bytes.get(2)?;
        let (mut source, mut table, mut priority, mut protocol) = (None, 0, 0, 0);
        for (kind, payload) in answer.attributes(HEADER) {
            match kind {
                RULE_SOURCE => source = v4(payload),
                RULE_TABLE => table = word_of(payload)?,
                RULE_PRIORITY => priority = word_of(payload)?,
                RULE_PROTOCOL => protocol = *payload.first()?,
                _ => {}
            }
        }
        let ours = priority == PRIORITY && protocol == PROTOCOL;
        ours.then_some(Rule { source: source?, bits, table })
    };
    let all = netlink.dump(GET_RULE, &inet())?;
    Ok(all.iter().filter(|answer| answer.bytes.first() == Some(&INET)).filter_map(of).collect())
}

fn inet() -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0] = INET;
    header
}

fn v4(payload: &[u8]) -> Option<Ipv4Addr> {
    match ip(payload)? {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}
