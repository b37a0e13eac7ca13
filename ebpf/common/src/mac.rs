//! The MAC addresses of the wires of pods: they follow from IPv4 addresses, so that nobody asks for them.

/// The MAC of an end with this address.
#[inline(always)]
#[must_use]
pub const fn pod_mac([a, b, c, d]: [u8; 4]) -> [u8; 6] {
    [0x0a, 0x58, a, b, c, d]
}

/// The address that pods send everything to (RFC 3927: of this wire only).
pub const POD_GATEWAY: [u8; 4] = [169, 254, 1, 1];

/// The MAC of the node's end of each wire.
pub const NODE_MAC: [u8; 6] = pod_mac(POD_GATEWAY);
