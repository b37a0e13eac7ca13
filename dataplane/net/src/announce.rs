//! Addresses that this node answers for on its uplink (ARP, RFC 826; neighbour discovery, RFC 4861).
//!
//! An address is announced by being an address of the uplink's device: the kernel answers for it then,
//! in both families. It carries a mark, so that a later agent knows which are ours. Whoever talked to
//! another node before is told at once, by a gratuitous ARP message (RFC 5227 section 3) or an
//! unsolicited neighbour advertisement (RFC 4861 section 7.2.6).

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use crate::devices::{Device, devices, ip};
use crate::error::NetError;
use crate::netlink::{ACK, Answer, CREATE, Message, Netlink};

/// `RTM_NEWADDR`, `RTM_DELADDR`, `RTM_GETADDR` (linux/rtnetlink.h).
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
/// Length of `struct ifaddrmsg`.
const HEADER: usize = 8;
/// `IFA_ADDRESS`, `IFA_LOCAL`, `IFA_FLAGS`, `IFA_PROTO` (linux/if_addr.h).
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const FLAGS: u16 = 8;
const PROTO: u16 = 11;
/// `IFA_F_NODAD`, `IFA_F_NOPREFIXROUTE`: in force at once, and no route of its own.
const NO_DETECTION: u32 = 0x02;
const NO_ROUTE: u32 = 0x200;
/// Who set the address (Linux 5.18): the number that our routes have too.
const OURS: u8 = 80;
/// `ETH_P_ARP` (linux/if_ether.h).
const ARP: u16 = 0x0806;

/// What an announcement changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Announced {
    /// Answered for from now on.
    pub added: Vec<IpAddr>,
    /// No longer.
    pub removed: Vec<IpAddr>,
    /// The neighbours were not told, and find out by themselves: what the system said.
    pub untold: Option<String>,
}

/// An address of the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Own {
    device: u32,
    address: IpAddr,
    prefix: u8,
    ours: bool,
}

/// Brings the addresses that the calling thread's namespace answers for to these. Each goes to the
/// device whose network it belongs to, else to the first device that has an address of its family.
///
/// # Errors
/// No CAP_NET_ADMIN, or no device has an address of that family.
pub fn announce(wanted: &BTreeSet<IpAddr>) -> Result<Announced, NetError> {
    let fail = "announcing addresses";
    let netlink = Netlink::route().map_err(NetError::netlink(fail))?;
    let answers = netlink.dump(GET_ADDRESS, &[0; HEADER]).map_err(NetError::netlink(fail))?;
    let own: Vec<Own> = answers.iter().filter_map(own).collect();
    let mut announced = Announced::default();
    for gone in own.iter().filter(|own| own.ours && !wanted.contains(&own.address)) {
        let message = message(DELETE_ADDRESS, 0, gone.device, gone.address);
        netlink.change(message).map_err(NetError::netlink(fail))?;
        announced.removed.push(gone.address);
    }
    let missing = wanted.iter().filter(|address| own.iter().all(|own| own.address != **address));
    let missing: Vec<IpAddr> = missing.copied().collect();
    if missing.is_empty() {
        return Ok(announced);
    }
    let devices = devices()?;
    for address in missing {
        let device = uplink(address, &own, &devices).ok_or_else(|| NetError::Device {
            name: address.to_string(),
            reason: "no device has an address of its family, so none can answer for it".into(),
        })?;
        let new = message(NEW_ADDRESS, CREATE, device.index, address);
        netlink.change(new).map_err(NetError::netlink(fail))?;
        announced.added.push(address);
        if let Err(error) = tell(device, address) {
            announced.untold = Some(error.to_string());
        }
    }
    Ok(announced)
}

fn own(answer: &Answer) -> Option<Own> {
    let header: &[u8; HEADER] = answer.bytes.first_chunk()?;
    let device = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]);
    let (mut address, mut local, mut ours) = (None, None, false);
    for (kind, payload) in answer.attributes(HEADER) {
        match kind {
            ADDRESS => address = ip(payload),
            LOCAL => local = ip(payload),
            PROTO => ours = payload == [OURS],
            _ => {}
        }
    }
    Some(Own { device, address: local.or(address)?, prefix: header[1], ours })
}

/// The device that answers for an address.
fn uplink<'a>(address: IpAddr, own: &[Own], devices: &'a [Device]) -> Option<&'a Device> {
    let usable = |index: u32| {
        let mut devices = devices.iter();
        devices.find(|d| d.index == index && d.ethernet && !d.loopback && d.up)
    };
    let of_family =
        || own.iter().filter(|own| !own.ours && own.address.is_ipv4() == address.is_ipv4());
    let near = of_family().filter(|own| within(address, own.address, own.prefix));
    near.chain(of_family().filter(|own| !is_link_local(own.address)))
        .find_map(|own| usable(own.device))
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn within(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let (address, network, length) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (u128::from(a.to_bits()), u128::from(n.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits(), n.to_bits(), 128),
        _ => return false,
    };
    (address ^ network).checked_shr(length - u32::from(prefix)).unwrap_or(0) == 0
}

fn message(kind: u16, flags: u16, device: u32, address: IpAddr) -> Message {
    let (family, length, octets) = match address {
        IpAddr::V4(address) => (2, 32, address.octets().to_vec()),
        IpAddr::V6(address) => (10, 128, address.octets().to_vec()),
    };
    let mut header = vec![family, length, 0, 0];
    header.extend_from_slice(&device.to_ne_bytes());
    Message::new(kind, flags | ACK, &header)
        .attribute(LOCAL, &octets)
        .attribute(ADDRESS, &octets)
        .number(FLAGS, NO_DETECTION | NO_ROUTE)
        .attribute(PROTO, &[OURS])
}

/// Tells everybody on the device's network where an address is now.
fn tell(device: &Device, address: IpAddr) -> io::Result<()> {
    match address {
        IpAddr::V4(address) => {
            let socket = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
            socket.send_to(&gratuitous(device.mac, address), &everybody(device.index)?)?;
        }
        IpAddr::V6(address) => {
            let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
            // RFC 4861 section 7.1.2: what has passed a router is not believed.
            socket.set_multicast_hops_v6(255)?;
            socket.set_multicast_if_v6(device.index)?;
            let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
            let all = SocketAddrV6::new(all, 0, 0, device.index);
            socket.send_to(&advertisement(device.mac, address), &all.into())?;
        }
    }
    Ok(())
}

/// An ARP request for an address by its own holder.
fn gratuitous(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut message = vec![0, 1, 8, 0, 6, 4, 0, 1];
    message.extend_from_slice(&mac);
    message.extend_from_slice(&address.octets());
    message.extend_from_slice(&[0; 6]);
    message.extend_from_slice(&address.octets());
    message
}

/// A neighbour advertisement that overrides; the kernel fills the checksum in.
fn advertisement(mac: [u8; 6], address: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend_from_slice(&address.octets());
    message.extend_from_slice(&[2, 1]);
    message.extend_from_slice(&mac);
    message
}

/// The broadcast address of a device.
fn everybody(device: u32) -> io::Result<SockAddr> {
    let mut storage = SockAddrStorage::zeroed();
    #[expect(unsafe_code, reason = "socket2 makes no address of the link layer by itself")]
    // SAFETY: `sockaddr_ll` is one of the system's address types, and all zeros is one.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    address.sll_protocol = ARP.to_be();
    address.sll_ifindex = i32::try_from(device).map_err(io::Error::other)?;
    address.sll_halen = 6;
    address.sll_addr = [255; 8];
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    #[expect(unsafe_code, reason = "socket2 makes no address of the link layer by itself")]
    // SAFETY: a whole address of its family was written above, and this is its length.
    Ok(unsafe { SockAddr::new(storage, length) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(device: u32, address: &str, prefix: u8) -> Own {
        Own { device, address: address.parse().unwrap(), prefix, ours: false }
    }

    fn device(index: u32, name: &str) -> Device {
        let loopback = name == "lo";
        let (name, kind, mac) = (name.into(), String::new(), [2, 0, 0, 0, 0, 1]);
        Device {
            index,
            name,
            kind,
            ethernet: true,
            loopback,
            up: true,
            mac,
            mtu: 1500,
            alias: String::new(),
        }
    }

    #[test]
    fn an_address_goes_to_the_device_of_its_network_else_to_the_first_of_its_family() {
        let devices = [device(1, "lo"), device(2, "eth0"), device(3, "eth1")];
        let own = [
            own(1, "127.0.0.1", 8),
            own(1, "::1", 128),
            own(2, "192.0.2.10", 24),
            own(3, "198.51.100.10", 24),
            own(3, "fe80::1", 64),
            own(3, "2001:db8::10", 64),
        ];
        for (address, expected) in [
            ("192.0.2.200", Some("eth0")),
            ("198.51.100.200", Some("eth1")),
            ("203.0.113.1", Some("eth0")),
            ("2001:db8::99", Some("eth1")),
            ("2001:db8:1::1", Some("eth1")),
        ] {
            let found = uplink(address.parse().unwrap(), &own, &devices);
            assert_eq!(found.map(|device| device.name.as_str()), expected, "{address}");
        }
        assert!(uplink("2001:db8::99".parse().unwrap(), &own[..3], &devices).is_none());
    }

    #[test]
    fn messages_are_as_the_rfcs_write_them() {
        let mac = [2, 0, 0, 0, 0, 1];
        let arp = gratuitous(mac, Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(arp.len(), 28);
        assert_eq!(arp[8..18], [2, 0, 0, 0, 0, 1, 192, 0, 2, 1]);
        assert_eq!(arp[14..18], arp[24..28], "for itself");
        let na = advertisement(mac, Ipv6Addr::LOCALHOST);
        assert_eq!((na.len(), na[0], na[4]), (32, 136, 0x20));
    }
}
