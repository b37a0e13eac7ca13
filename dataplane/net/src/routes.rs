//! Routes and rules, in the network namespace of the calling thread.
//!
//! ```text
//! rule 64: fwmark 0x1000/0x3000 lookup 4096     what the programs marked
//!          table 4096: local default dev lo     … is for this node, whatever its address
//! rule 65: iif lo lookup 4097                   what processes of the node send
//!          table 4097: local ADDRESS dev lo     … to a Gateway goes through lo and its programs
//! ```
//!
//! The rules come after the one for the node's own addresses (0), and before everybody else's.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use penstock_ebpf_common::{MARK_MASK, STEERED_MARK};
use rustix::io::Errno;

use crate::devices::ip;
use crate::error::NetError;
use crate::netlink::{ACK, CREATE, EXCLUSIVE, Message, Netlink};

/// The table that routes what was marked.
pub const STEERED_TABLE: u32 = 4096;
/// The table that routes what processes of the node send to Gateways.
pub const HOST_TABLE: u32 = 4097;
const STEERED_PRIORITY: u32 = 64;
const HOST_PRIORITY: u32 = 65;

/// Message types (linux/rtnetlink.h).
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;
const NEW_RULE: u16 = 32;
const DELETE_RULE: u16 = 33;
/// Attributes of routes: `RTA_DST`, `RTA_OIF`, `RTA_PREFSRC`, `RTA_TABLE`.
const DESTINATION: u16 = 1;
const DEVICE: u16 = 4;
const SOURCE: u16 = 7;
const TABLE: u16 = 15;
/// Attributes of rules (linux/fib_rules.h): `FRA_IIFNAME`, `FRA_PRIORITY`, `FRA_FWMARK`, `FRA_TABLE`,
/// `FRA_FWMASK`, `FRA_PROTOCOL`.
const RULE_DEVICE: u16 = 3;
const RULE_PRIORITY: u16 = 6;
const RULE_MARK: u16 = 10;
const RULE_TABLE: u16 = 15;
const RULE_MASK: u16 = 16;
const RULE_PROTOCOL: u16 = 21;
/// Who made a route or rule: a number that nobody else uses (`RTPROT_*`).
const PROTOCOL: u8 = 80;
/// `RTN_LOCAL`, `RT_SCOPE_HOST`, `FR_ACT_TO_TBL`.
const LOCAL: u8 = 2;
const HOST_SCOPE: u8 = 254;
const TO_TABLE: u8 = 1;
/// Length of `struct rtmsg`.
const ROUTE_HEADER: usize = 12;
/// The loopback device is the first of every namespace.
const LOOPBACK: u32 = 1;

/// `AF_INET` and `AF_INET6` of Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4 = 2,
    V6 = 10,
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Makes the rules, and the route for what was marked; what is there already is left alone. A family
/// that the node does not have is left out.
///
/// # Errors
/// No CAP_NET_ADMIN, or a kernel without policy routing.
pub fn install() -> Result<(), NetError> {
    let fail = "making routes and rules";
    let netlink = Netlink::route().map_err(NetError::netlink(fail))?;
    for family in FAMILIES {
        let all = [steered_rule(family), host_rule(family)]
            .map(|rule| rule(NEW_RULE, CREATE | EXCLUSIVE));
        let default = route(NEW_ROUTE, CREATE | EXCLUSIVE, family, 0, STEERED_TABLE);
        for message in all.into_iter().chain([default]) {
            match netlink.change(message) {
                Err(error) if is(&error, &[Errno::EXIST]) => {}
                Err(error) if family == Family::V6 && is_without_family(&error) => break,
                other => other.map_err(NetError::netlink(fail))?,
            }
        }
    }
    Ok(())
}

/// Brings the addresses that processes of the node reach through `lo` to these, each with the address
/// of the node that they have as their own then (else it is the dialled one).
///
/// # Errors
/// The kernel refuses one: a source that is no address of the node, for example.
pub fn set_host(wanted: &[(IpAddr, Option<IpAddr>)]) -> Result<(), NetError> {
    let fail = "routes for processes of the node";
    let netlink = Netlink::route().map_err(NetError::netlink(fail))?;
    let wanted: BTreeMap<IpAddr, Option<IpAddr>> = wanted.iter().copied().collect();
    let there = host_routes(&netlink).map_err(NetError::netlink(fail))?;
    for (&address, source) in &there {
        if wanted.get(&address) != Some(source) {
            let gone = host_route(DELETE_ROUTE, 0, address, None);
            ignore(netlink.change(gone), &[Errno::SRCH]).map_err(NetError::netlink(fail))?;
        }
    }
    for (&address, &source) in &wanted {
        if there.get(&address) != Some(&source) {
            let new = host_route(NEW_ROUTE, CREATE | EXCLUSIVE, address, source);
            ignore(netlink.change(new), &[Errno::EXIST]).map_err(NetError::netlink(fail))?;
        }
    }
    Ok(())
}

/// Takes all of it away.
///
/// # Errors
/// No CAP_NET_ADMIN.
pub fn remove() -> Result<(), NetError> {
    let fail = "removing routes and rules";
    set_host(&[])?;
    let netlink = Netlink::route().map_err(NetError::netlink(fail))?;
    for family in FAMILIES {
        let all = [steered_rule(family), host_rule(family)].map(|rule| rule(DELETE_RULE, 0));
        let default = route(DELETE_ROUTE, 0, family, 0, STEERED_TABLE);
        for message in all.into_iter().chain([default]) {
            match netlink.change(message) {
                Err(error) if family == Family::V6 && is_without_family(&error) => break,
                other => {
                    ignore(other, &[Errno::NOENT, Errno::SRCH]).map_err(NetError::netlink(fail))?
                }
            }
        }
    }
    Ok(())
}

fn steered_rule(family: Family) -> Box<dyn Fn(u16, u16) -> Message> {
    Box::new(move |kind, flags| {
        rule(kind, flags, family, STEERED_PRIORITY, STEERED_TABLE)
            .number(RULE_MARK, STEERED_MARK)
            .number(RULE_MASK, MARK_MASK)
    })
}

fn host_rule(family: Family) -> Box<dyn Fn(u16, u16) -> Message> {
    Box::new(move |kind, flags| {
        rule(kind, flags, family, HOST_PRIORITY, HOST_TABLE).text(RULE_DEVICE, "lo")
    })
}

/// `struct fib_rule_hdr` and what all rules have. The table's number does not fit the header.
fn rule(kind: u16, flags: u16, family: Family, priority: u32, table: u32) -> Message {
    Message::new(kind, flags | ACK, &[family as u8, 0, 0, 0, 0, 0, 0, TO_TABLE, 0, 0, 0, 0])
        .number(RULE_PRIORITY, priority)
        .number(RULE_TABLE, table)
        .attribute(RULE_PROTOCOL, &[PROTOCOL])
}

/// `struct rtmsg` and what all routes have.
fn route(kind: u16, flags: u16, family: Family, length: u8, table: u32) -> Message {
    let header = [family as u8, length, 0, 0, 0, PROTOCOL, HOST_SCOPE, LOCAL, 0, 0, 0, 0];
    Message::new(kind, flags | ACK, &header).number(DEVICE, LOOPBACK).number(TABLE, table)
}

fn host_route(kind: u16, flags: u16, address: IpAddr, source: Option<IpAddr>) -> Message {
    let (family, octets) = octets(address);
    let length = u8::try_from(octets.len() * 8).unwrap_or(u8::MAX);
    let message = route(kind, flags, family, length, HOST_TABLE).attribute(DESTINATION, &octets);
    match source.map(self::octets) {
        Some((_, source)) => message.attribute(SOURCE, &source),
        None => message,
    }
}

/// The addresses of our table, with their sources.
fn host_routes(netlink: &Netlink) -> io::Result<BTreeMap<IpAddr, Option<IpAddr>>> {
    let mut routes = BTreeMap::new();
    for family in FAMILIES {
        let mut header = [0; ROUTE_HEADER];
        header[0] = family as u8;
        for answer in netlink.dump(GET_ROUTE, &header)? {
            // A kernel without a family answers with the routes of all.
            if answer.bytes.first() != Some(&header[0]) {
                continue;
            }
            let (mut table, mut address, mut source) = (None, None, None);
            for (kind, payload) in answer.attributes(ROUTE_HEADER) {
                match kind {
                    TABLE => {
                        table = payload.first_chunk().map(|number| u32::from_ne_bytes(*number))
                    }
                    DESTINATION => address = ip(payload),
                    SOURCE => source = ip(payload),
                    _ => {}
                }
            }
            if let (Some(HOST_TABLE), Some(address)) = (table, address) {
                routes.insert(address, source);
            }
        }
    }
    Ok(routes)
}

fn octets(address: IpAddr) -> (Family, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (Family::V4, address.octets().to_vec()),
        IpAddr::V6(address) => (Family::V6, address.octets().to_vec()),
    }
}

fn is(error: &io::Error, errnos: &[Errno]) -> bool {
    errnos.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// What kernels say where IPv6 is not compiled in, or off.
fn is_without_family(error: &io::Error) -> bool {
    is(error, &[Errno::AFNOSUPPORT, Errno::OPNOTSUPP, Errno::ACCESS])
}

fn ignore(result: io::Result<()>, errnos: &[Errno]) -> io::Result<()> {
    match result {
        Err(error) if is(&error, errnos) => Ok(()),
        other => other,
    }
}
