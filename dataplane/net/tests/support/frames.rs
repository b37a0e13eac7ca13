//! Frames made by hand.

use std::net::IpAddr;

use super::{CLIENT, CLIENT6};

pub(crate) const TCP: u8 = 6;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const ACK: u8 = 0x10;

/// The bytes of an address.
pub(crate) fn octets(address: &str) -> Vec<u8> {
    match address.parse().unwrap() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A frame with this ethertype.
pub(crate) fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A TCP header without options.
pub(crate) fn tcp(source: u16, port: u16, flags: u8) -> Vec<u8> {
    let mut header = vec![0; 20];
    header[..2].copy_from_slice(&source.to_be_bytes());
    header[2..4].copy_from_slice(&port.to_be_bytes());
    header[12] = 5 << 4;
    header[13] = flags;
    header
}

/// An IPv4 frame: options, fragment field, protocol, what follows.
pub(crate) fn v4(to: &str, options: &[u8], fragment: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 20];
    header[0] = 0x40 | (5 + options.len() as u8 / 4);
    let length = (20 + options.len() + payload.len()) as u16;
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header[6..8].copy_from_slice(&fragment.to_be_bytes());
    header[8] = 64;
    header[9] = protocol;
    header[12..16].copy_from_slice(&octets(CLIENT));
    header[16..20].copy_from_slice(&octets(to));
    ethernet(0x0800, &[&header, options, payload].concat())
}

/// An IPv6 frame: the first next header, and all after the fixed header.
pub(crate) fn v6(to: &str, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    header[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    header.extend(octets(CLIENT6));
    header.extend(octets(to));
    ethernet(0x86dd, &[&header, payload].concat())
}
