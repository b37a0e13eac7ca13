//! The addresses of a subnet.

use penstock_config::address::Block;
use std::{collections::BTreeSet, net::Ipv4Addr};

/// The addresses of a subnet. The first four and the last one belong to AWS. Which free one is given
/// nobody can foresee; here it is often the one that became free last, which is what harms most.
#[derive(Clone, Debug)]
pub struct Space {
    first: u32,
    size: u32,
    taken: BTreeSet<u32>,
    seed: u32,
    /// Those that became free, the last one at the end.
    freed: Vec<u32>,
}

impl Space {
    /// All addresses of a block of `10.0.0.0/24`'s form.
    ///
    /// # Panics
    /// Where the text is no block.
    pub fn new(cidr: &str) -> Self {
        let (first, bits) = cidr.split_once('/').expect("a block");
        let first = u32::from(first.parse::<Ipv4Addr>().expect("an address"));
        let size = 1_u32 << (32 - bits.parse::<u32>().expect("a length"));
        let taken = (0..4).chain([size - 1]).map(|n| first + n).collect();
        Self { first, size, taken, seed: 1, freed: Vec::new() }
    }

    /// As text.
    pub fn cidr(&self) -> String {
        format!("{}/{}", Ipv4Addr::from(self.first), self.size.leading_zeros() + 1)
    }

    /// How many are free.
    pub fn free(&self) -> u32 {
        self.size - u32::try_from(self.taken.len()).unwrap_or(u32::MAX)
    }

    fn chance(&mut self) -> u32 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.seed >> 8
    }

    /// Takes a free address.
    pub(super) fn take(&mut self) -> Option<Ipv4Addr> {
        if self.free() == 0 {
            return None;
        }
        let chance = self.chance();
        let again = chance.is_multiple_of(2).then(|| self.last_freed(|_| true)).flatten();
        let start = chance % self.size;
        let mut all = (0..self.size).map(|n| self.first + (start + n) % self.size);
        let address = again.or_else(|| all.find(|address| !self.taken.contains(address)))?;
        self.taken.insert(address);
        Some(Ipv4Addr::from(address))
    }

    /// The address that became free last, and is free, and is as wanted.
    fn last_freed(&mut self, wanted: impl Fn(u32) -> bool) -> Option<u32> {
        self.freed.retain(|address| !self.taken.contains(address));
        self.freed.iter().rev().find(|address| wanted(**address)).copied()
    }

    /// Takes a free block.
    pub(super) fn take_block(&mut self) -> Option<Block> {
        let taken = self.taken.clone();
        let free = |first: u32| (0..16).all(|n| !taken.contains(&(first + n)));
        let again = self.last_freed(|address| free(address & !15)).map(|address| address & !15);
        let mut blocks = (0..self.size / 16).map(|n| self.first + n * 16);
        let first = again.or_else(|| blocks.find(|first| free(*first)))?;
        self.taken.extend(first..first + 16);
        Some(Block::of(Ipv4Addr::from(first)))
    }

    /// Takes an address that is free; whether it was.
    pub fn claim(&mut self, address: Ipv4Addr) -> bool {
        let number = u32::from(address);
        (self.first..self.first + self.size).contains(&number) && self.taken.insert(number)
    }

    /// Somebody else takes some; says which.
    pub fn steal(&mut self, count: u32) -> Vec<Ipv4Addr> {
        (0..count).map_while(|_| self.take()).collect()
    }

    /// Gives addresses back.
    pub fn give(&mut self, addresses: impl IntoIterator<Item = Ipv4Addr>) {
        for address in addresses {
            self.taken.remove(&u32::from(address));
            self.freed.push(u32::from(address));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_addresses_of_a_subnet_belong_to_aws() {
        let mut space = Space::new("10.0.0.0/28");
        assert_eq!((space.free(), space.cidr().as_str()), (11, "10.0.0.0/28"));
        assert_eq!(space.take_block(), None, "no whole block is free");
        let taken = space.steal(20);
        assert_eq!(taken.len(), 11);
        space.give(taken);
        assert_eq!(space.free(), 11);
    }

    #[test]
    fn blocks_are_of_sixteen_and_a_single_address_breaks_one() {
        let mut space = Space::new("10.0.0.0/26");
        assert_eq!(space.take_block().unwrap().to_string(), "10.0.0.16/28");
        let single = space.steal(1);
        let more = space.take_block();
        assert!(more.is_some() || single[0] >= Ipv4Addr::new(10, 0, 0, 32));
    }

    #[test]
    fn a_block_that_became_free_is_given_again() {
        let mut space = Space::new("10.0.0.0/25");
        let blocks = [0; 3].map(|_| space.take_block().unwrap());
        space.give(blocks[1].addresses());
        assert_eq!(space.take_block(), Some(blocks[1]));
    }
}
