//! A node of type m5.large (3 interfaces, 10 addresses each) in a VPC with two subnets of its zone.

use penstock_config::address::{Block, Held, Report, Unit};
use penstock_eni::{
    Action, Attachment, Eni, Instance, Limits, Node, Plan, SecurityGroup, Shared, Subnet, Subnets,
    Time, plan,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    ops::Range,
};

/// When everything is planned.
pub(crate) const NOW: Time = Time(10_000_000);

/// So many seconds before.
pub(crate) fn secs_ago(secs: u64) -> Time {
    Time(NOW.0 - secs * 1000)
}

/// Single addresses `10.0.0.N`.
pub(crate) fn addresses(last: Range<u8>) -> BTreeSet<Unit> {
    last.map(|n| Unit::Address(Ipv4Addr::new(10, 0, 0, n))).collect()
}

/// The n-th block of `10.0.1.0/24`.
pub(crate) fn block(n: u8) -> Unit {
    Unit::Block(Block::of(Ipv4Addr::new(10, 0, 1, n * 16)))
}

/// An interface of this cluster.
pub(crate) fn attached(id: &str, (card, index): (u8, u8), units: BTreeSet<Unit>) -> Eni {
    Eni {
        id: id.into(),
        mac: format!("02:00:00:00:{card:02x}:{index:02x}"),
        vpc: "vpc-1".into(),
        subnet: "subnet-a".into(),
        primary: Ipv4Addr::new(10, 0, 2, index),
        units,
        groups: ["sg-node".to_owned()].into(),
        tags: BTreeMap::new(),
        owned: true,
        attachment: Some(Attachment {
            id: format!("eni-attach-{id}"),
            card,
            index,
            delete_on_termination: true,
        }),
    }
}

/// A node with the interface that it began with.
pub(crate) fn empty_node() -> Node {
    let instance = Instance {
        id: "i-1".into(),
        kind: "m5.large".into(),
        zone: "a".into(),
        vpc: "vpc-1".into(),
        subnet: "subnet-a".into(),
    };
    let first = Eni { owned: false, ..attached("eni-0", (0, 0), BTreeSet::new()) };
    Node {
        instance,
        limits: Some(Limits::one_card(3, 10, true)),
        enis: [(first.id.clone(), first)].into(),
        ..Node::default()
    }
}

/// The node says at a time what is in use.
pub(crate) fn report(node: &mut Node, used: &[(Held, u32)], at: Time) {
    let report = Report { used: used.iter().cloned().collect(), ..Report::default() };
    let enis = node.enis.values();
    let mut holds: Vec<_> = enis.clone().map(|eni| Held::interface(&eni.id)).collect();
    holds.extend(enis.flat_map(|eni| eni.units.iter().map(|u| Held::unit(&eni.id, *u))));
    node.demand.observe(&report, holds.iter(), at);
}

/// Subnets and security groups.
pub(crate) struct Vpc {
    subnets: Subnets,
    groups: BTreeMap<String, SecurityGroup>,
}

impl Vpc {
    /// Two subnets in the node's zone, 1,000 free addresses each, with a group.
    pub(crate) fn new() -> Self {
        let subnet = |id: &str| Subnet {
            id: id.into(),
            vpc: "vpc-1".into(),
            zone: "a".into(),
            cidr: "10.0.0.0/16".into(),
            free: 1000,
            ..Subnet::default()
        };
        let subnets = ["subnet-a", "subnet-b"].map(|id| (id.to_owned(), subnet(id)));
        let id = "sg-node".to_owned();
        let group = SecurityGroup { id: id.clone(), vpc: "vpc-1".into(), ..Default::default() };
        Self { subnets: subnets.into(), groups: [(id, group)].into() }
    }

    /// For a machine.
    pub(crate) fn shared(self) -> Shared {
        Shared { subnets: self.subnets, groups: self.groups }
    }

    /// One of them.
    pub(crate) fn subnet(&mut self, id: &str) -> &mut Subnet {
        self.subnets.get_mut(id).unwrap()
    }

    /// What is planned now.
    pub(crate) fn plan(&self, node: &Node) -> Plan {
        plan(node, &self.subnets, &self.groups, NOW)
    }

    /// The actions of it, where nothing stands in the way.
    pub(crate) fn actions(&self, node: &Node) -> Vec<Action> {
        self.plan(node).actions
    }
}
