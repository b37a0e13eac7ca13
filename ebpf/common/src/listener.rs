//! The key of the listener map.

/// The address of a listener that takes every address of the node itself.
pub const ANY_ADDRESS: [u8; 16] = [0; 16];

/// An IPv4 address as IPv6 sockets write it (RFC 4291, 2.5.5.2).
#[must_use]
pub const fn mapped(address: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = address;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// What a client dials: an address, or [`ANY_ADDRESS`], with a port.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerKey {
    /// IPv6 address, or IPv4 [`mapped`].
    pub address: [u8; 16],
    /// Port, in the order of the wire.
    pub port: [u8; 2],
    /// Protocol number; [`crate::TCP`].
    pub protocol: u8,
    /// Zero.
    pub reserved: u8,
}

impl ListenerKey {
    /// A TCP listener.
    #[must_use]
    pub const fn tcp(address: [u8; 16], port: u16) -> Self {
        Self { address, port: port.to_be_bytes(), protocol: crate::TCP, reserved: 0 }
    }

    /// As the map holds it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..16].copy_from_slice(&self.address);
        bytes[16..18].copy_from_slice(&self.port);
        bytes[18] = self.protocol;
        bytes
    }

    /// As the map held it.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 20]) -> Self {
        let mut address = [0; 16];
        address.copy_from_slice(&bytes[..16]);
        Self { address, port: [bytes[16], bytes[17]], protocol: bytes[18], reserved: bytes[19] }
    }
}
