//! What instance types could have when this was built.

use crate::limits::{Card, Limits};

/// Type, interfaces, addresses of each, `prefixes` or `single`, interfaces of each network card.
const TYPES: &str = include_str!("types.tsv");

/// The limits of an instance type as EC2 described it when this was built; `None` for one that came
/// later. For predictions: what an operator does follows from what EC2 describes when it runs.
pub fn known_limits(kind: &str) -> Option<Limits> {
    all().find(|(known, _)| *known == kind).map(|(_, limits)| limits)
}

/// All types that are known, in order.
pub fn known_types() -> impl Iterator<Item = &'static str> {
    all().map(|(kind, _)| kind)
}

fn all() -> impl Iterator<Item = (&'static str, Limits)> {
    TYPES.lines().filter_map(parse)
}

fn parse(line: &'static str) -> Option<(&'static str, Limits)> {
    let mut fields = line.split('\t');
    let (kind, interfaces, addresses) = (fields.next()?, fields.next()?, fields.next()?);
    let prefixes = fields.next()? == "prefixes";
    let cards = fields.next()?.split(',').zip(0..);
    let cards = cards
        .map(|(interfaces, index)| Some((index, Card { interfaces: interfaces.parse().ok()? })));
    let limits = Limits {
        addresses: addresses.parse().ok()?,
        interfaces: interfaces.parse().ok()?,
        cards: cards.collect::<Option<_>>()?,
        prefixes,
    };
    Some((kind, limits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_type() {
        assert_eq!(all().count(), TYPES.lines().count());
        assert!(known_types().is_sorted());
        assert_eq!(known_limits("m5.large"), Some(Limits::one_card(3, 10, true)));
        assert_eq!(known_limits("m99.huge"), None);
    }
}
