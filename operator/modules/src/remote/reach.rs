//! Which addresses modules may come from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where instance metadata answers on AWS over IPv6.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Which addresses modules may come from: whoever writes a filter must not reach what only the
/// operator can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// All but this host itself, link-local ones (instance metadata is there) and multicast.
    #[default]
    Network,
    /// This host as well.
    Everywhere,
}

impl Reach {
    pub(crate) fn allows(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_special = match address {
            IpAddr::V4(v4) => v4.is_link_local() || v4 == Ipv4Addr::BROADCAST,
            IpAddr::V6(v6) => v6.is_unicast_link_local() || v6 == METADATA,
        };
        let is_host = address.is_loopback() || address.is_unspecified();
        !is_special && !address.is_multicast() && (!is_host || self == Reach::Everywhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_reaches_the_network_but_not_the_host_nor_instance_metadata() {
        for (address, network, everywhere) in [
            ("192.0.2.1", true, true),
            ("10.0.0.1", true, true),
            ("2001:db8::1", true, true),
            ("fd00:ec2::253", true, true),
            ("127.0.0.1", false, true),
            ("::1", false, true),
            ("::ffff:127.0.0.1", false, true),
            ("0.0.0.0", false, true),
            ("169.254.169.254", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("fd00:ec2::254", false, false),
            ("fe80::1", false, false),
            ("224.0.0.1", false, false),
            ("ff02::1", false, false),
            ("255.255.255.255", false, false),
        ] {
            let parsed: IpAddr = address.parse().expect("an address");
            assert_eq!(Reach::Network.allows(parsed), network, "{address}");
            assert_eq!(Reach::Everywhere.allows(parsed), everywhere, "{address}");
        }
    }
}
