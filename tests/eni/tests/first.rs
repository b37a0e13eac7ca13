//! What a node that has nothing yet costs until pods can start on it.

use penstock_config::address::Report;
use penstock_eni::{
    Desk, Effect, Event, Instance, Limits, Look, SecurityGroup, Settings, Time, Watermarks,
};
use penstock_test_eni::simulation::{Cloud as _, InMemory, VPC};
use std::collections::BTreeMap;

const NODE: &str = "node-1";
const INSTANCE: &str = "i-1";

/// The calls that change something until the node is told addresses of its second interface.
fn mutations(prefixes: bool) -> Vec<&'static str> {
    let (mut cloud, now) = (InMemory::new(), Time(1_000_000));
    let limits = Limits::one_card(3, 10, true);
    assert!(cloud.launch(INSTANCE, limits.clone()));
    let watermarks = Watermarks { pre_allocate: 8, ..Watermarks::default() };
    let settings =
        Settings { first_interface_index: 1, prefixes, watermarks, ..Settings::default() };
    let mut desk = Desk::new(settings, 1, None, now);
    let instance = Instance {
        id: INSTANCE.into(),
        kind: "m5.large".into(),
        zone: "a".into(),
        ..Instance::default()
    };
    let mut events =
        vec![Event::Reported(NODE.into(), Report::default()), Event::Node(NODE.into(), instance)];
    let mut calls = Vec::new();
    while let Some(event) = events.pop() {
        for effect in desk.step(event, now) {
            match effect {
                Effect::Call(key, id, action) => {
                    calls.push(action.name());
                    let result = cloud.call(&key.instance, "token", &action);
                    events.push(Event::Called(key, id, action.name(), result));
                }
                Effect::Look(Look::Interfaces(key)) => {
                    let seen = cloud.interfaces(&key.instance);
                    events.push(Event::Described(key, now, Ok(seen)));
                }
                Effect::Look(Look::Vpc(vpc)) => {
                    let id = "sg-node".to_owned();
                    let group = SecurityGroup {
                        id: id.clone(),
                        vpc: VPC.into(),
                        ..SecurityGroup::default()
                    };
                    let groups = BTreeMap::from([(id, group)]);
                    events.push(Event::Vpc(vpc, Ok((cloud.subnets(), groups))));
                }
                Effect::Look(Look::Type(kind)) => {
                    events.push(Event::Type(kind, Ok(Some(limits.clone()))));
                }
                Effect::Tell(_, told) if told.interfaces.values().any(|i| !i.units.is_empty()) => {
                    return calls;
                }
                _ => {}
            }
        }
    }
    panic!("it is told nothing: {calls:?}");
}

/// With `--nocapture` it prints what `make bench BENCH=addresses` shows.
#[test]
fn a_cold_node_has_addresses_on_a_second_interface_after_three_calls_at_most() {
    for (name, prefixes) in [("addresses", false), ("prefixes", true)] {
        let calls = mutations(prefixes);
        println!("calls until a cold node has {name}: {} ({})", calls.len(), calls.join(", "));
        assert!(calls.len() <= 3, "{calls:?}");
    }
}
