//! The work for what happens to one node does not grow with their number.

use penstock_config::address::Report;
use penstock_eni::{
    Attachment, Desk, Effect, Eni, Event, Instance, Limits, NodeKey, SecurityGroup, Settings,
    Subnet, Time,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

const VPC: &str = "vpc-1";
const TYPE: &str = "m5.large";

fn key(n: u16) -> NodeKey {
    NodeKey { node: format!("node-{n}"), instance: format!("i-{n}") }
}

/// The interface that an instance begins with.
fn first(n: u16) -> Eni {
    let [high, low] = n.to_be_bytes();
    Eni {
        id: format!("eni-{n}").as_str().into(),
        mac: format!("02:00:00:00:{high:02x}:{low:02x}"),
        vpc: VPC.into(),
        subnet: "subnet-1".into(),
        primary: Ipv4Addr::new(10, 0, high, low),
        units: BTreeSet::new(),
        groups: ["sg-1".to_owned()].into(),
        tags: BTreeMap::new(),
        owned: false,
        attachment: Some(Attachment {
            id: format!("eni-attach-{n}"),
            card: 0,
            index: 0,
            delete_on_termination: true,
        }),
    }
}

fn vpc() -> Event {
    let subnet = Subnet {
        id: "subnet-1".into(),
        vpc: VPC.into(),
        zone: "a".into(),
        cidr: "10.0.0.0/16".into(),
        free: 60_000,
        ..Subnet::default()
    };
    let group = SecurityGroup { id: "sg-1".into(), vpc: VPC.into(), ..SecurityGroup::default() };
    let subnets = BTreeMap::from([("subnet-1".to_owned(), subnet)]);
    Event::Vpc(VPC.into(), Ok((subnets, [("sg-1".to_owned(), group)].into())))
}

/// A desk of so many nodes, each with its first interface and a demand that is being met.
fn desk(nodes: u16, now: Time) -> Desk {
    let mut desk = Desk::new(Settings::default(), 1, None, now);
    for n in 0..nodes {
        let key = key(n);
        let instance = Instance {
            id: key.instance.clone(),
            kind: TYPE.into(),
            zone: "a".into(),
            ..Instance::default()
        };
        desk.step(Event::Node(key.node.clone(), instance), now);
        desk.step(Event::Reported(key.node.clone(), Report::default()), now);
        desk.step(Event::Described(key, now, Ok(vec![first(n)])), now);
    }
    desk.step(Event::Type(TYPE.into(), Ok(Some(Limits::one_card(3, 10, true)))), now);
    desk.step(vpc(), now);
    assert_eq!(desk.nodes().filter(|(_, machine)| machine.told().is_some()).count(), nodes.into());
    desk
}

/// The least time that a node's report takes. The clock of the desk stands still: no tick is in it.
fn report(nodes: u16) -> Duration {
    let now = Time(1_000_000);
    let mut desk = desk(nodes, now);
    let mut least = Duration::MAX;
    for round in 0..2000_u32 {
        let report = Report { pending: round % 7, ..Report::default() };
        let event = Event::Reported(key(u16::try_from(round).unwrap() % nodes).node, report);
        let begun = Instant::now();
        let effects: Vec<Effect> = black_box(desk.step(event, now));
        least = least.min(begun.elapsed());
        drop(effects);
    }
    least
}

/// With `--nocapture` it prints what `make bench BENCH=addresses` shows.
#[test]
fn a_report_costs_the_same_among_ten_nodes_and_among_a_thousand() {
    let least: Vec<_> = [10, 100, 1000].into_iter().map(|nodes| (nodes, report(nodes))).collect();
    for (nodes, took) in &least {
        println!("a report among {nodes} nodes: {} ns", took.as_nanos());
    }
    // Maps grow by a level or two.
    assert!(least[2].1 < least[0].1 * 2, "{least:?}");
}
