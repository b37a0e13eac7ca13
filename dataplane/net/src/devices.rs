//! The devices and addresses of the namespace.

use std::io;
use std::net::IpAddr;

use crate::error::NetError;
use crate::netlink::{Message, Netlink, attributes};

/// `RTM_GETLINK`, `RTM_GETADDR` (linux/rtnetlink.h).
const GET_LINK: u16 = 18;
const GET_ADDRESS: u16 = 22;
/// Lengths of `struct ifinfomsg` and `struct ifaddrmsg`.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
/// `IFLA_IFNAME`, `IFLA_ADDRESS`, `IFLA_MTU`, `IFLA_IFALIAS`, `IFLA_LINKINFO` with `IFLA_INFO_KIND` in it.
const NAME: u16 = 3;
const MAC: u16 = 1;
const MTU: u16 = 4;
const ALIAS: u16 = 20;
const INFO: u16 = 18;
const INFO_KIND: u16 = 1;
/// `IFLA_EXT_MASK`, `RTEXT_FILTER_SKIP_STATS`.
const MASK: u16 = 29;
const SKIP_STATISTICS: u32 = 8;
/// `IFA_ADDRESS`, `IFA_LOCAL`: they differ where a device has a peer's address.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
/// `ARPHRD_ETHER`, `ARPHRD_LOOPBACK` (linux/if_arp.h): frames with an Ethernet header.
const ETHERNET: u16 = 1;
const LOOPBACK: u16 = 772;
/// `IFF_UP`.
const UP: u32 = 1;

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its number in the namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What the kernel calls its driver (`veth`, `bridge`); empty for hardware and `lo`.
    pub kind: String,
    /// Its packets have an Ethernet header.
    pub ethernet: bool,
    /// It is the loopback device.
    pub loopback: bool,
    /// It is set up.
    pub up: bool,
    /// Its Ethernet address; zeros where it has none.
    pub mac: [u8; 6],
    /// The longest packet that it carries.
    pub mtu: u32,
    /// What somebody noted about it.
    pub alias: String,
}

/// The devices of the calling thread's namespace.
///
/// # Errors
/// The kernel does not answer.
pub fn devices() -> Result<Vec<Device>, NetError> {
    let fail = "listing devices";
    let netlink = Netlink::route().map_err(NetError::netlink(fail))?;
    let answers = netlink.dump(GET_LINK, &[0; LINK_HEADER]).map_err(NetError::netlink(fail))?;
    Ok(answers
        .iter()
        .filter_map(|answer| {
            let header: &[u8; LINK_HEADER] = answer.bytes.first_chunk()?;
            let word = |at: usize| {
                u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
            };
            let hardware = u16::from_ne_bytes([header[2], header[3]]);
            let mut device = Device {
                index: word(4),
                name: String::new(),
                kind: String::new(),
                ethernet: [ETHERNET, LOOPBACK].contains(&hardware),
                loopback: hardware == LOOPBACK,
                up: word(8) & UP != 0,
                mac: [0; 6],
                mtu: 0,
                alias: String::new(),
            };
            for (kind, payload) in answer.attributes(LINK_HEADER) {
                match kind {
                    NAME => device.name = text(payload),
                    MTU => device.mtu = word_of(payload).unwrap_or(0),
                    ALIAS => device.alias = text(payload),
                    MAC => device.mac = payload.try_into().unwrap_or_default(),
                    INFO => {
                        let kind = attributes(payload).find(|(kind, _)| *kind == INFO_KIND);
                        device.kind = kind.map(|(_, name)| text(name)).unwrap_or_default();
                    }
                    _ => {}
                }
            }
            Some(device)
        })
        .collect())
}

/// The addresses of the calling thread's namespace, those of `lo` included.
///
/// # Errors
/// The kernel does not answer.
pub fn addresses() -> Result<Vec<IpAddr>, NetError> {
    let fail = "listing addresses";
    let netlink = Netlink::route().map_err(NetError::netlink(fail))?;
    let answers =
        netlink.dump(GET_ADDRESS, &[0; ADDRESS_HEADER]).map_err(NetError::netlink(fail))?;
    let local = |answer: &crate::netlink::Answer| {
        let mut found = None;
        for (kind, payload) in answer.attributes(ADDRESS_HEADER) {
            if kind == LOCAL || (kind == ADDRESS && found.is_none()) {
                found = ip(payload).or(found);
            }
        }
        found
    };
    Ok(answers.iter().filter_map(local).collect())
}

/// The index of the device of this name; all others are not looked at.
pub(crate) fn index_of(netlink: &Netlink, name: &str) -> io::Result<u32> {
    let message = Message::new(GET_LINK, 0, &[0; LINK_HEADER]);
    let answer = netlink.ask(message.number(MASK, SKIP_STATISTICS).text(NAME, name))?;
    let index = answer.bytes.get(4..).and_then(word_of);
    index.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The device of this name, if the programs can read its packets.
pub(crate) fn device_named(name: &str) -> Result<Device, NetError> {
    let fail = |reason: &str| NetError::Device { name: name.to_owned(), reason: reason.to_owned() };
    let device = devices()?.into_iter().find(|device| device.name == name);
    let device = device.ok_or_else(|| fail("there is none of this name in the namespace"))?;
    if device.ethernet { Ok(device) } else { Err(fail("its packets have no Ethernet header")) }
}

/// A number in the machine's order.
pub(crate) fn word_of(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().map(|number| u32::from_ne_bytes(*number))
}

/// An address of either family.
pub(crate) fn ip(payload: &[u8]) -> Option<IpAddr> {
    let v4 = || Some(IpAddr::from(<[u8; 4]>::try_from(payload).ok()?));
    v4().or_else(|| Some(IpAddr::from(<[u8; 16]>::try_from(payload).ok()?)))
}

/// A string without the zero at its end.
fn text(payload: &[u8]) -> String {
    let end = payload.iter().position(|byte| *byte == 0).unwrap_or(payload.len());
    String::from_utf8_lossy(&payload[..end]).into_owned()
}
