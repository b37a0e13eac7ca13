//! What an instance type can have (EC2 `DescribeInstanceTypes`, `NetworkInfo`).

use std::collections::BTreeMap;

/// Limits of an instance type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Addresses of one interface, its primary one included (`Ipv4AddressesPerInterface`).
    pub addresses: u16,
    /// Interfaces of all cards together (`MaximumNetworkInterfaces`).
    pub interfaces: u16,
    /// Network cards by their index.
    pub cards: BTreeMap<u8, Card>,
    /// Whether prefixes can be assigned: Nitro and bare metal.
    pub prefixes: bool,
}

/// A network card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card {
    /// Interfaces that it takes (`MaximumNetworkInterfaces` of the card).
    pub interfaces: u16,
}

impl Limits {
    /// Those of a type with one network card.
    pub fn one_card(interfaces: u16, addresses: u16, prefixes: bool) -> Self {
        Self { addresses, interfaces, cards: [(0, Card { interfaces })].into(), prefixes }
    }

    /// Secondary addresses or prefixes of one interface: each takes a slot, in any mixture.
    pub fn slots(&self) -> u32 {
        u32::from(self.addresses.saturating_sub(1))
    }

    /// Addresses of pods on an instance whose interfaces before `first` are not used.
    pub fn capacity(&self, first: u8, prefixes: bool) -> u32 {
        let each = self.slots() * if prefixes && self.prefixes { 16 } else { 1 };
        u32::from(self.interfaces.saturating_sub(u16::from(first))) * each
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_is_that_of_the_interfaces_that_pods_may_use() {
        let limits = Limits::one_card(3, 10, true);
        assert_eq!(limits.capacity(0, false), 27);
        assert_eq!(limits.capacity(1, false), 18);
        assert_eq!(limits.capacity(1, true), 288);
        assert_eq!(limits.capacity(4, true), 0);
    }
}
