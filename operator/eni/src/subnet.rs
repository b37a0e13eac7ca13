//! In which subnet a new interface is made.

use crate::{
    action::Fill,
    settings::{Settings, has_tags, lacking},
    time::Time,
};
use std::{cmp::Reverse, collections::BTreeMap, net::Ipv4Addr};

/// A subnet, and what calls found out about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subnet {
    /// `subnet-...`.
    pub id: String,
    /// Its VPC.
    pub vpc: String,
    /// Its availability zone.
    pub zone: String,
    /// Its block, as `10.0.0.0/24`.
    pub cidr: String,
    /// Its route table, `rtb-...`; empty where it has the VPC's main one.
    pub route_table: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Free addresses (`AvailableIpAddressCount`).
    pub free: u32,
    /// Until when no address is asked for, since a call found none.
    pub full_until: Option<Time>,
    /// Until when no prefix is asked for, since a call found none: it is fragmented.
    pub fragmented_until: Option<Time>,
}

/// The subnets that are known, by id.
pub type Subnets = BTreeMap<String, Subnet>;

/// Why there is no subnet for a new interface. Who runs the cluster is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.told())]
pub enum SubnetError {
    /// Nothing has the ids: those, VPC and zone.
    NoSuchId(String, String, String),
    /// Nothing has the tags: VPC, zone, and which tags select nothing.
    NoSuchTags(String, String, String),
    /// Nothing is in the zone: VPC and zone.
    NoneInZone(String, String),
    /// All that may be used are.
    Full {
        /// How many are needed, the interface's own one included.
        need: u32,
        /// Those that may be used.
        ids: String,
    },
}

impl SubnetError {
    /// Path of the option that selects, where one does.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::NoSuchId(..) => Some("eni.nodeSpec.subnetIDs"),
            Self::NoSuchTags(..) => Some("eni.nodeSpec.subnetTags"),
            Self::NoneInZone(..) | Self::Full { .. } => None,
        }
    }

    /// What is wrong.
    pub fn cause(&self) -> String {
        match self {
            Self::NoSuchId(ids, vpc, zone) => {
                format!("there is no subnet {ids} in VPC {vpc} and zone {zone}")
            }
            Self::NoSuchTags(vpc, zone, lacking) => format!(
                "no subnet of VPC {vpc} and zone {zone} has all of the tags, since {lacking}"
            ),
            Self::NoneInZone(vpc, zone) => format!("no subnet of VPC {vpc} is in zone {zone}"),
            Self::Full { need, ids } => {
                format!("no subnet that may be used has {need} free addresses: {ids}")
            }
        }
    }

    /// What to do about a selection.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::NoSuchId(..) => Some("name one of each zone that has nodes"),
            Self::NoSuchTags(..) => Some("tag one of each zone that has nodes"),
            Self::NoneInZone(..) | Self::Full { .. } => None,
        }
    }

    fn told(&self) -> String {
        let before = self.field().map_or_else(String::new, |field| format!("{field}: "));
        let after = self.remedy().map_or_else(String::new, |remedy| format!(": {remedy}"));
        format!("{before}{}{after}", self.cause())
    }
}

/// For whom a subnet is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct For<'a> {
    pub(crate) vpc: &'a str,
    pub(crate) zone: &'a str,
    /// That of the instance's first interface.
    pub(crate) own: &'a str,
    pub(crate) settings: &'a Settings,
}

impl Subnet {
    /// The VPC's router in it: its block's second address (VPC User Guide, "Subnet CIDR blocks").
    pub fn router(&self) -> Option<Ipv4Addr> {
        let (network, _) = self.block()?;
        Some(Ipv4Addr::from(network + 1))
    }

    /// Whether an address is one of its block.
    pub(crate) fn contains(&self, address: Ipv4Addr) -> bool {
        self.block().is_some_and(|(network, mask)| u32::from(address) & mask == network)
    }

    /// Network and mask.
    fn block(&self) -> Option<(u32, u32)> {
        let (network, length) = self.cidr.split_once('/')?;
        let length: u32 = length.parse().ok().filter(|length| *length <= 30)?;
        let network = u32::from(network.parse::<Ipv4Addr>().ok()?);
        let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
        Some((network & mask, mask))
    }

    /// Whether addresses can be asked for.
    pub(crate) fn has_addresses(&self, count: u32, now: Time) -> bool {
        self.free >= count && self.full_until.is_none_or(|until| until <= now)
    }

    /// Whether prefixes can be asked for, as far as one knows before one does.
    pub(crate) fn has_prefixes(&self, count: u32, now: Time) -> bool {
        self.has_addresses(count * 16, now)
            && self.fragmented_until.is_none_or(|until| until <= now)
    }

    fn has(&self, fill: Fill, now: Time) -> bool {
        match fill {
            Fill::Addresses(count) => self.has_addresses(count + 1, now),
            Fill::Prefixes(count) => {
                self.has_addresses(count * 16 + 1, now) && self.has_prefixes(count, now)
            }
        }
    }
}

impl For<'_> {
    /// The subnets that new interfaces may be in.
    ///
    /// A subnet's id beats tags, and tags beat the zone: what was selected is never left for something
    /// that was not.
    fn allowed<'s>(&self, subnets: &'s Subnets) -> Result<Vec<&'s Subnet>, SubnetError> {
        let (vpc, zone) = (self.vpc.to_owned(), self.zone.to_owned());
        let here = || subnets.values().filter(|s| s.vpc == self.vpc && s.zone == self.zone);
        let (ids, tags) = (&self.settings.subnet_ids, &self.settings.subnet_tags);
        if !ids.is_empty() {
            let found: Vec<_> = here().filter(|s| ids.contains(&s.id)).collect();
            let names = || ids.iter().cloned().collect::<Vec<_>>().join(", ");
            return if found.is_empty() {
                Err(SubnetError::NoSuchId(names(), vpc, zone))
            } else {
                Ok(found)
            };
        }
        if !tags.is_empty() {
            let found: Vec<_> = here().filter(|s| has_tags(&s.tags, tags)).collect();
            return if found.is_empty() {
                let lacking = lacking(here().map(|s| &s.tags), tags);
                Err(SubnetError::NoSuchTags(vpc, zone, lacking))
            } else {
                Ok(found)
            };
        }
        let found: Vec<_> = here().collect();
        if found.is_empty() { Err(SubnetError::NoneInZone(vpc, zone)) } else { Ok(found) }
    }

    /// The best subnet that has what is asked for: the node's own one, then its siblings (those with
    /// the same route table first), and among equals that with the most free addresses.
    pub(crate) fn choose<'s>(
        &self,
        subnets: &'s Subnets,
        fill: Fill,
        now: Time,
    ) -> Result<&'s Subnet, SubnetError> {
        let allowed = self.allowed(subnets)?;
        let table = subnets.get(self.own).map(|own| own.route_table.as_str());
        let rank = |s: &Subnet| {
            let sibling = Some(s.route_table.as_str()) == table;
            (s.id != self.own, !sibling, Reverse(s.free), s.id.clone())
        };
        let ids = || allowed.iter().map(|s| s.id.as_str()).collect::<Vec<_>>().join(", ");
        let best = allowed.iter().copied().filter(|s| s.has(fill, now)).min_by_key(|s| rank(s));
        best.ok_or_else(|| SubnetError::Full { need: fill.addresses() + 1, ids: ids() })
    }

    /// The most single addresses that a new interface could get anywhere, up to `most`.
    pub(crate) fn most(&self, subnets: &Subnets, most: u32, now: Time) -> Result<u32, SubnetError> {
        let allowed = self.allowed(subnets)?;
        let free = allowed.iter().filter(|s| s.has_addresses(2, now)).map(|s| s.free - 1).max();
        Ok(free.unwrap_or(0).min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    const NOW: Time = Time(1_000_000);

    #[test]
    fn the_router_has_the_second_address_of_the_subnet() {
        let router = |cidr: &str| Subnet { cidr: cidr.into(), ..Subnet::default() }.router();
        assert_eq!(router("10.0.4.0/22"), Some(Ipv4Addr::new(10, 0, 4, 1)));
        assert_eq!(router("10.0.5.7/22"), Some(Ipv4Addr::new(10, 0, 4, 1)));
        for cidr in ["", "10.0.0.0", "10.0.0.0/31", "10.0.0.0/x", "::/64"] {
            assert_eq!(router(cidr), None, "{cidr}");
        }
    }

    fn subnet(id: &str, zone: &str, table: &str, free: u32, role: &str) -> Subnet {
        Subnet {
            id: id.into(),
            vpc: "vpc-1".into(),
            zone: zone.into(),
            route_table: table.into(),
            tags: [("role".to_owned(), role.to_owned())].into(),
            free,
            ..Subnet::default()
        }
    }

    fn all() -> Subnets {
        [
            subnet("subnet-own", "a", "rtb-1", 50, "node"),
            subnet("subnet-near", "a", "rtb-1", 100, "pod"),
            subnet("subnet-wide", "a", "rtb-2", 4000, "pod"),
            subnet("subnet-other-zone", "b", "rtb-1", 4000, "pod"),
        ]
        .map(|s| (s.id.clone(), s))
        .into()
    }

    fn choose(settings: &Settings, subnets: &Subnets, fill: Fill) -> Result<String, SubnetError> {
        let who = For { vpc: "vpc-1", zone: "a", own: "subnet-own", settings };
        who.choose(subnets, fill, NOW).map(|s| s.id.clone())
    }

    #[test]
    fn the_own_subnet_then_those_with_its_route_table_then_the_one_with_the_most_free() {
        let settings = Settings::default();
        let mut subnets = all();
        let next = |fill| choose(&settings, &subnets, fill);
        assert_eq!(next(Fill::Addresses(49)).unwrap(), "subnet-own");
        assert_eq!(next(Fill::Addresses(50)).unwrap(), "subnet-near");
        assert_eq!(next(Fill::Addresses(100)).unwrap(), "subnet-wide");
        assert_eq!(
            next(Fill::Addresses(4000)).unwrap_err().to_string(),
            "no subnet that may be used has 4001 free addresses: subnet-near, subnet-own, subnet-wide"
        );
        subnets.get_mut("subnet-own").unwrap().full_until = Some(Time(NOW.0 + 1));
        assert_eq!(choose(&settings, &subnets, Fill::Addresses(1)).unwrap(), "subnet-near");
        subnets.get_mut("subnet-own").unwrap().full_until = Some(NOW);
        assert_eq!(choose(&settings, &subnets, Fill::Addresses(1)).unwrap(), "subnet-own");
    }

    #[test]
    fn a_fragmented_subnet_has_addresses_but_no_prefixes_until_it_is_tried_again() {
        let settings = Settings::default();
        let mut subnets = all();
        assert_eq!(choose(&settings, &subnets, Fill::Prefixes(1)).unwrap(), "subnet-own");
        subnets.get_mut("subnet-own").unwrap().fragmented_until = Some(Time(NOW.0 + 1));
        assert_eq!(choose(&settings, &subnets, Fill::Prefixes(1)).unwrap(), "subnet-near");
        assert_eq!(choose(&settings, &subnets, Fill::Addresses(1)).unwrap(), "subnet-own");
        subnets.get_mut("subnet-own").unwrap().fragmented_until = Some(NOW);
        assert_eq!(choose(&settings, &subnets, Fill::Prefixes(1)).unwrap(), "subnet-own");
    }

    #[test]
    fn ids_beat_tags_and_what_matches_nothing_is_an_error_and_not_a_wider_choice() {
        let tags = [("role".to_owned(), "pod".to_owned())];
        let mut settings = Settings { subnet_tags: tags.into(), ..Settings::default() };
        assert_eq!(choose(&settings, &all(), Fill::Addresses(1)).unwrap(), "subnet-near");
        settings.subnet_ids = ["subnet-wide".to_owned()].into();
        assert_eq!(choose(&settings, &all(), Fill::Addresses(1)).unwrap(), "subnet-wide");
        settings.subnet_ids = ["subnet-other-zone".to_owned()].into();
        let error = choose(&settings, &all(), Fill::Addresses(1)).unwrap_err();
        assert!(matches!(error, SubnetError::NoSuchId(..)), "{error}");
        settings.subnet_ids.clear();
        settings.subnet_tags.insert("team".into(), "a".into());
        let error = choose(&settings, &all(), Fill::Addresses(1)).unwrap_err();
        assert!(matches!(error, SubnetError::NoSuchTags(..)), "{error}");
    }

    #[test]
    fn subnets_of_another_vpc_are_none() {
        let settings = Settings::default();
        let who = For { vpc: "vpc-2", zone: "a", own: "subnet-own", settings: &settings };
        let error = who.choose(&all(), Fill::Addresses(1), NOW).unwrap_err();
        assert_eq!(error, SubnetError::NoneInZone("vpc-2".into(), "a".into()));
    }
}
