//! Capabilities: which interfaces of `penstock:host` a policy may import.

use std::fmt;

/// A set of the grantable interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Grants(u8);

/// Name of each grantable interface; the position is its bit.
const NAMES: [&str; 5] = ["clock", "log", "metrics", "random", "trace"];

impl Grants {
    pub(crate) const CLOCK: Grants = Grants(1);
    pub(crate) const LOG: Grants = Grants(1 << 1);
    pub(crate) const METRICS: Grants = Grants(1 << 2);
    pub(crate) const RANDOM: Grants = Grants(1 << 3);
    pub(crate) const TRACE: Grants = Grants(1 << 4);

    /// Reads names. An unknown one is returned.
    pub(crate) fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        names.into_iter().try_fold(Self::default(), |set, name| {
            let bit = NAMES.iter().position(|known| *known == name).ok_or(name)?;
            Ok(Self(set.0 | 1 << bit))
        })
    }

    pub(crate) fn contains(self, other: Grants) -> bool {
        self.0 & other.0 == other.0
    }

    /// What `self` has and `other` lacks.
    pub(crate) fn without(self, other: Grants) -> Grants {
        Grants(self.0 & !other.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 & 1 << bit != 0).map(|(_, n)| n)
    }
}

impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_the_names() {
        let all = Grants::parse(NAMES).expect("known names");
        let named = [Grants::CLOCK, Grants::LOG, Grants::METRICS, Grants::RANDOM, Grants::TRACE];
        for (grant, name) in named.into_iter().zip(NAMES) {
            assert_eq!(Grants::parse([name]), Ok(grant));
            assert!(all.contains(grant) && !all.without(grant).contains(grant));
        }
        assert_eq!(Grants::parse(["log", "kv"]), Err("kv"));
        assert_eq!(all.without(Grants::LOG).to_string(), "clock, metrics, random, trace");
    }
}
