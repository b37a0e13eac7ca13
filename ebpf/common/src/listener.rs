//! The key of the listener map, and the ports that have one.

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

/// Which ports have a listener: two bits each, so that a packet to any other port costs one look.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    words: [u32; Self::WORDS],
}

impl Ports {
    /// Some address has a listener at the port.
    pub const ADDRESS: u32 = 1;
    /// [`ANY_ADDRESS`] has one.
    pub const ANY: u32 = 2;
    /// Sixteen ports to a word.
    const WORDS: usize = 4096;
    /// Size in the map.
    pub const SIZE: usize = Self::WORDS * 4;
    /// No port.
    pub const NONE: Self = Self { words: [0; Self::WORDS] };

    /// [`Self::ADDRESS`] and [`Self::ANY`] of a port.
    #[inline(always)]
    #[must_use]
    pub const fn of(&self, port: u16) -> u32 {
        self.words[(port >> 4) as usize] >> ((port & 15) * 2) & 3
    }

    /// Adds what a listener with this key is.
    pub const fn add(&mut self, key: &ListenerKey) {
        let port = u16::from_be_bytes(key.port);
        let any = u128::from_ne_bytes(key.address) == 0;
        let bit = if any { Self::ANY } else { Self::ADDRESS };
        self.words[(port >> 4) as usize] |= bit << ((port & 15) * 2);
    }

    /// As the map holds it.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        for (bytes, word) in bytes.chunks_exact_mut(4).zip(self.words) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}
