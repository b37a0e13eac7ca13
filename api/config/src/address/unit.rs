//! What can be given to a node and given back.

use std::{fmt, net::Ipv4Addr, str::FromStr};

/// Addresses of a [`Block`].
pub const BLOCK_SIZE: u32 = 16;

/// Identity of a network interface, as EC2 gives it: `eni-0123456789abcdef0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(pub String);

impl fmt::Display for InterfaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for InterfaceId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

/// A block of sixteen addresses (an EC2 prefix delegation, always /28 for IPv4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block(Ipv4Addr);

impl Block {
    /// The block that holds an address.
    pub fn of(address: Ipv4Addr) -> Self {
        Self(Ipv4Addr::from(u32::from(address) & !(BLOCK_SIZE - 1)))
    }

    /// Its lowest address.
    pub fn first(self) -> Ipv4Addr {
        self.0
    }

    /// Whether an address is in it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        Self::of(address) == self
    }

    /// Its addresses, all of which pods can have: a block has neither network nor broadcast address.
    pub fn addresses(self) -> impl Iterator<Item = Ipv4Addr> {
        let first = u32::from(self.0);
        (0..BLOCK_SIZE).map(move |i| Ipv4Addr::from(first + i))
    }
}

/// As EC2 writes it: `10.0.0.16/28`.
impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/28", self.0)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no [`Block`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no block of sixteen addresses: it must be as 10.0.0.16/28")]
pub struct BlockError(String);

impl FromStr for Block {
    type Err = BlockError;

    fn from_str(text: &str) -> Result<Self, BlockError> {
        text.strip_suffix("/28")
            .and_then(|first| first.parse().ok())
            .filter(|&first| Self::of(first).first() == first)
            .map(Self)
            .ok_or_else(|| BlockError(text.to_owned()))
    }
}

/// Addresses that come and go together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// A secondary address of its own.
    Address(Ipv4Addr),
    /// Sixteen.
    Block(Block),
}

impl Unit {
    /// How many addresses it has.
    pub fn size(self) -> u32 {
        match self {
            Unit::Address(_) => 1,
            Unit::Block(_) => BLOCK_SIZE,
        }
    }

    /// Whether an address is one of it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        match self {
            Unit::Address(own) => own == address,
            Unit::Block(block) => block.contains(address),
        }
    }

    /// Its addresses in order.
    pub fn addresses(self) -> impl Iterator<Item = Ipv4Addr> {
        let (first, count) = match self {
            Unit::Address(address) => (address, 1),
            Unit::Block(block) => (block.first(), BLOCK_SIZE),
        };
        (0..count).map(move |i| Ipv4Addr::from(u32::from(first) + i))
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unit::Address(address) => address.fmt(f),
            Unit::Block(block) => block.fmt(f),
        }
    }
}

/// A text that is no [`Unit`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an address as 10.0.0.17 nor a block as 10.0.0.16/28")]
pub struct UnitError(String);

impl FromStr for Unit {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let block = || text.parse().map(Unit::Block).ok();
        let unit = text.parse().map(Unit::Address).ok().or_else(block);
        unit.ok_or_else(|| UnitError(text.to_owned()))
    }
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What can be given back: a unit of an interface, or an interface that has none left.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Held {
    /// The interface.
    pub interface: InterfaceId,
    /// One of its units. `None`: the interface itself.
    pub unit: Option<Unit>,
}

impl Held {
    /// A unit.
    pub fn unit(interface: &InterfaceId, unit: Unit) -> Self {
        Self { interface: interface.clone(), unit: Some(unit) }
    }

    /// An interface.
    pub fn interface(interface: &InterfaceId) -> Self {
        Self { interface: interface.clone(), unit: None }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            Some(unit) => write!(f, "{} of {}", unit, self.interface),
            None => self.interface.fmt(f),
        }
    }
}

/// A text that names nothing that can be given back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an interface as eni-1 nor a unit of one as 10.0.0.16/28 of eni-1")]
pub struct HeldError(String);

impl FromStr for Held {
    type Err = HeldError;

    fn from_str(text: &str) -> Result<Self, HeldError> {
        let error = || HeldError(text.to_owned());
        let (unit, interface) = match text.split_once(" of ") {
            Some((unit, interface)) => (Some(unit.parse().map_err(|_| error())?), interface),
            None => (None, text),
        };
        match interface.is_empty() || interface.contains(' ') {
            true => Err(error()),
            false => Ok(Self { interface: interface.into(), unit }),
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which proposal is meant. Grows always: within a term by the count, and each operator that becomes
/// the leader has a higher term (the `leaseTransitions` of its Lease).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    /// Of the leader.
    pub term: u32,
    /// Of its proposals.
    pub count: u32,
}

impl Epoch {
    /// The one that follows.
    #[must_use]
    pub fn next(self) -> Self {
        match self.count.checked_add(1) {
            Some(count) => Self { term: self.term, count },
            None => Self { term: self.term + 1, count: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_sixteen_addresses_from_a_multiple_of_sixteen() {
        let block: Block = "10.0.0.16/28".parse().unwrap();
        assert_eq!(block.addresses().next(), Some(Ipv4Addr::new(10, 0, 0, 16)));
        assert_eq!(block.addresses().last(), Some(Ipv4Addr::new(10, 0, 0, 31)));
        assert!(!block.contains(Ipv4Addr::new(10, 0, 0, 32)));
        assert_eq!(block.to_string(), "10.0.0.16/28");
        for text in ["10.0.0.17/28", "10.0.0.16", "10.0.0.16/27", "", "::/28"] {
            assert_eq!(text.parse::<Block>(), Err(BlockError(text.to_owned())));
        }
    }

    #[test]
    fn what_is_held_is_read_as_it_is_written() {
        for text in ["eni-1", "10.0.0.17 of eni-1", "10.0.0.16/28 of eni-1"] {
            assert_eq!(text.parse::<Held>().unwrap().to_string(), text);
        }
        for text in ["", "10.0.0.17/28 of eni-1", "10.0.0.17 of ", "a of b of c"] {
            assert_eq!(text.parse::<Held>(), Err(HeldError(text.to_owned())));
        }
    }

    #[test]
    fn a_later_leaders_epochs_are_higher_than_any_of_an_earlier_one() {
        let last = Epoch { term: 3, count: u32::MAX };
        assert!(last < Epoch { term: 4, count: 0 });
        assert!(last < last.next());
    }
}
