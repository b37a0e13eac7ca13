//! Routes and rules, in the network namespace of the calling thread.
//!
//! ```text
//! rule 64: fwmark 0x1000/0x3000 lookup 4096     what the programs marked
//!          table 4096: local default dev lo     … is for this node, whatever its address
//! rule 65: iif lo ipproto tcp lookup 4097       what processes of the node send
//!          table 4097: local ADDRESS dev lo     … to a Gateway goes through lo and its programs
//! ```
//!
//! The rules come after the one for the node's own addresses (0), and before everybody else's.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use penstock_ebpf_common::{MARK_MASK, STEERED_MARK, TCP};
use rustix::io::Errno;

use crate::devices::{ip, word_of as word};
use crate::error::NetError;
use crate::netlink::{ACK, Answer, CREATE, EXCLUSIVE, Message, Netlink};

/// The table that routes what was marked.
pub const STEERED_TABLE: u32 = 4096;
/// The table that routes what processes of the node send to Gateways.
pub const HOST_TABLE: u32 = 4097;
const STEERED_PRIORITY: u32 = 64;
const HOST_PRIORITY: u32 = 65;

/// Message types (linux/rtnetlink.h).
pub(crate) const NEW_ROUTE: u16 = 24;
pub(crate) const DELETE_ROUTE: u16 = 25;
pub(crate) const GET_ROUTE: u16 = 26;
pub(crate) const NEW_RULE: u16 = 32;
pub(crate) const DELETE_RULE: u16 = 33;
/// Attributes of routes: `RTA_DST`, `RTA_OIF`, `RTA_PREFSRC`, `RTA_TABLE`.
pub(crate) const DESTINATION: u16 = 1;
pub(crate) const DEVICE: u16 = 4;
const SOURCE: u16 = 7;
pub(crate) const TABLE: u16 = 15;
/// Attributes of rules (linux/fib_rules.h): `FRA_IIFNAME`, `FRA_PRIORITY`, `FRA_FWMARK`, `FRA_TABLE`,
/// `FRA_FWMASK`, `FRA_PROTOCOL`, `FRA_IP_PROTO`.
const RULE_DEVICE: u16 = 3;
pub(crate) const RULE_PRIORITY: u16 = 6;
pub(crate) const RULE_MARK: u16 = 10;
pub(crate) const RULE_TABLE: u16 = 15;
pub(crate) const RULE_MASK: u16 = 16;
pub(crate) const RULE_PROTOCOL: u16 = 21;
const RULE_IP_PROTOCOL: u16 = 22;
/// Who made a route or rule: a number that nobody else uses (`RTPROT_*`).
pub(crate) const PROTOCOL: u8 = 80;
/// `RTN_LOCAL`, `RT_SCOPE_HOST`, `FR_ACT_TO_TBL`.
const LOCAL: u8 = 2;
const HOST_SCOPE: u8 = 254;
pub(crate) const TO_TABLE: u8 = 1;
/// Length of `struct rtmsg`, and of `struct fib_rule_hdr`.
pub(crate) const HEADER: usize = 12;
/// The loopback device is the first of every namespace.
const LOOPBACK: u32 = 1;

/// `AF_INET` and `AF_INET6` of Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4 = 2,
    V6 = 10,
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Makes the rules, and the route for what was marked; what is there already is left alone. A family that
/// the node does not have is left out.
///
/// # Errors
/// No CAP_NET_ADMIN, or a kernel without policy routing.
pub fn install() -> Result<(), NetError> {
    let fail = NetError::netlink("making routes and rules");
    let netlink = Netlink::route().map_err(&fail)?;
    for family in FAMILIES {
        let flags = CREATE | EXCLUSIVE;
        let all = [
            steered_rule(NEW_RULE, flags, family),
            host_rule(NEW_RULE, flags, family),
            route(NEW_ROUTE, flags, family, 0, STEERED_TABLE),
        ];
        change(&netlink, family, all, &[Errno::EXIST]).map_err(&fail)?;
    }
    Ok(())
}

/// Brings the addresses whose TCP ports processes of the node reach through `lo` to these, each with the
/// address of the node that they have as their own then; without one the kernel chooses, which for IPv4
/// it only can where the dialled address is the node's too. A port without a listener on such an
/// address answers them nothing.
///
/// # Errors
/// The kernel refuses one: a source that is no address of the node, for example.
pub fn set_host(wanted: &[(IpAddr, Option<IpAddr>)]) -> Result<(), NetError> {
    let fail = NetError::netlink("routes for processes of the node");
    let netlink = Netlink::route().map_err(&fail)?;
    for family in FAMILIES {
        let of_family = wanted.iter().filter(|(address, _)| octets(*address).0 == family);
        let wanted: BTreeMap<_, _> = of_family.copied().collect();
        bring_routes_to(&netlink, family, &wanted).map_err(&fail)?;
    }
    Ok(())
}

/// Takes all of it away.
///
/// # Errors
/// No CAP_NET_ADMIN.
pub fn remove() -> Result<(), NetError> {
    let fail = NetError::netlink("removing routes and rules");
    set_host(&[])?;
    let netlink = Netlink::route().map_err(&fail)?;
    for family in FAMILIES {
        let all = [
            steered_rule(DELETE_RULE, 0, family),
            host_rule(DELETE_RULE, 0, family),
            route(DELETE_ROUTE, 0, family, 0, STEERED_TABLE),
        ];
        change(&netlink, family, all, &[Errno::NOENT, Errno::SRCH]).map_err(&fail)?;
    }
    Ok(())
}

/// The device by which packets of this node leave for an address.
///
/// # Errors
/// The kernel does not answer. That there is no route is no error.
pub fn device_towards(address: IpAddr) -> Result<Option<u32>, NetError> {
    let fail = NetError::netlink("finding the device of an address");
    let netlink = Netlink::route().map_err(&fail)?;
    let (family, octets) = octets(address);
    let mut header = [0; HEADER];
    header[0] = family as u8;
    header[1] = u8::try_from(octets.len() * 8).unwrap_or(u8::MAX);
    let question = Message::new(GET_ROUTE, 0, &header).attribute(DESTINATION, &octets);
    match netlink.ask(question) {
        Ok(answer) => {
            let mut attributes = answer.attributes(HEADER);
            Ok(attributes.find(|(kind, _)| *kind == DEVICE).and_then(|(_, payload)| word(payload)))
        }
        Err(error) if is(&error, &[Errno::NETUNREACH, Errno::HOSTUNREACH]) => Ok(None),
        Err(error) if is_without_family(&error) => Ok(None),
        Err(error) => Err(fail(error)),
    }
}

fn bring_routes_to(
    netlink: &Netlink,
    family: Family,
    wanted: &BTreeMap<IpAddr, Option<IpAddr>>,
) -> io::Result<()> {
    let there = host_routes(netlink, family)?;
    let gone = there.iter().filter(|(address, source)| wanted.get(address) != Some(source));
    let gone = gone.map(|(address, _)| host_route(DELETE_ROUTE, 0, *address, None));
    change(netlink, family, gone, &[Errno::SRCH])?;
    let new = wanted.iter().filter(|(address, source)| there.get(address) != Some(source));
    let new =
        new.map(|(address, source)| host_route(NEW_ROUTE, CREATE | EXCLUSIVE, *address, *source));
    change(netlink, family, new, &[Errno::EXIST])
}

/// Makes changes one after the other; such refusals are content, and IPv6 may be missing altogether.
fn change(
    netlink: &Netlink,
    family: Family,
    messages: impl IntoIterator<Item = Message>,
    content: &[Errno],
) -> io::Result<()> {
    for message in messages {
        match netlink.change(message) {
            Err(error) if is(&error, content) => {}
            Err(error) if family == Family::V6 && is_without_family(&error) => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}

fn steered_rule(kind: u16, flags: u16, family: Family) -> Message {
    rule(kind, flags, family, STEERED_PRIORITY, STEERED_TABLE)
        .number(RULE_MARK, STEERED_MARK)
        .number(RULE_MASK, MARK_MASK)
}

fn host_rule(kind: u16, flags: u16, family: Family) -> Message {
    rule(kind, flags, family, HOST_PRIORITY, HOST_TABLE)
        .text(RULE_DEVICE, "lo")
        .attribute(RULE_IP_PROTOCOL, &[TCP])
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
fn host_routes(netlink: &Netlink, family: Family) -> io::Result<BTreeMap<IpAddr, Option<IpAddr>>> {
    let mut routes = BTreeMap::new();
    for answer in dump(netlink, GET_ROUTE, family)? {
        let (mut table, mut address, mut source) = (None, None, None);
        for (kind, payload) in answer.attributes(HEADER) {
            match kind {
                TABLE => table = word(payload),
                DESTINATION => address = ip(payload),
                SOURCE => source = ip(payload),
                _ => {}
            }
        }
        if let (Some(HOST_TABLE), Some(address)) = (table, address) {
            routes.insert(address, source);
        }
    }
    Ok(routes)
}

/// All entries of a family: a kernel without one answers with those of all.
fn dump(netlink: &Netlink, kind: u16, family: Family) -> io::Result<Vec<Answer>> {
    let mut header = [0; HEADER];
    header[0] = family as u8;
    let mut answers = netlink.dump(kind, &header)?;
    answers.retain(|answer| answer.bytes.first() == Some(&header[0]));
    Ok(answers)
}

fn octets(address: IpAddr) -> (Family, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (Family::V4, address.octets().to_vec()),
        IpAddr::V6(address) => (Family::V6, address.octets().to_vec()),
    }
}

pub(crate) fn is(error: &io::Error, errnos: &[Errno]) -> bool {
    errnos.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// What kernels say where IPv6 is not compiled in, or off.
fn is_without_family(error: &io::Error) -> bool {
    is(error, &[Errno::AFNOSUPPORT, Errno::OPNOTSUPP, Errno::ACCESS])
}
