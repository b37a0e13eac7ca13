//! What must hold of the surroundings of any Gateways: nothing is given twice, and the order in which
//! objects come does not matter.

use crate::fixture::{BASE, World, objects, pool};
use crate::infrastructure::{bare, gateway};
use penstock_config::{Frontend, ResourceKind};
use penstock_resources::Object;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn some_gateways() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    // Name, year, what it asks for.
    proptest::collection::vec((0..12u8, 0..4u8, 0..6u8), 0..10)
}

fn world_of(gateways: &[(u8, u8, u8)]) -> Vec<Object> {
    let ranges = "ranges: [{start: 192.0.2.0, stop: 192.0.2.6}, {cidr: '2001:db8::/126'}]";
    let mut yaml = vec![
        BASE.to_owned(),
        pool("p", ranges),
        pool("q", "ranges: [{start: 192.0.2.5, stop: 192.0.2.8}]"),
    ];
    for (name, year, ask) in gateways {
        let spec = match ask {
            0 | 1 => String::new(),
            2 => ", addresses: [{type: IPAddress}, {value: 192.0.2.3}]".to_owned(),
            ask => format!(", addresses: [{{value: 192.0.2.{}}}]", ask * 3),
        };
        let metadata = format!(", creationTimestamp: '202{year}-01-01T00:00:00Z'");
        yaml.push(gateway(&format!("g{name}"), &[80, 443], &metadata, &spec));
    }
    let objects = yaml.iter().flat_map(|yaml| objects(yaml)).map(|o| (o.id(), o));
    objects.collect::<BTreeMap<_, _>>().into_values().collect()
}

fn cluster_of(objects: Vec<Object>) -> World {
    let mut world = bare(&[]);
    for object in objects {
        world.index.apply(object);
    }
    world
}

fn frontends(world: &World) -> BTreeMap<String, Frontend> {
    let state = world.translate().state;
    let frontends = state.iter().filter_map(|resource| match &*resource.content {
        ResourceKind::Frontend(frontend) => Some((resource.key.name.clone(), frontend.clone())),
        _ => None,
    });
    frontends.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// No address and no target port is ever given twice, and once everything is written there is
    /// nothing left to write.
    #[test]
    fn nothing_is_given_twice_and_writing_comes_to_an_end(
        gateways in some_gateways(),
        more in some_gateways(),
    ) {
        let mut world = cluster_of(world_of(&gateways)).settled();
        let before = frontends(&world);
        for object in world_of(&more) {
            // Gateways that are new; the others stay as they are.
            let id = object.id();
            if !before.keys().any(|key| key.starts_with(&format!("{}/{}|", id.namespace, id.name))) {
                world.index.apply(object);
            }
        }
        let world = world.settled();
        let after = frontends(&world);
        let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
        let mut target_ports = BTreeSet::new();
        for frontend in after.values() {
            prop_assert!(target_ports.insert(frontend.target_port));
            for address in &frontend.addresses {
                let owner = owners.entry(address).or_insert(&frontend.gateway);
                prop_assert_eq!(*owner, &frontend.gateway);
            }
        }
        for (key, frontend) in &before {
            let now = &after[key];
            prop_assert_eq!(now.target_port, frontend.target_port);
            for address in &frontend.addresses {
                prop_assert!(now.addresses.contains(address), "{} lost {}", key, address);
            }
        }
    }

    /// The order in which objects come does not matter.
    #[test]
    fn the_order_of_objects_gives_nobody_another_address(
        gateways in some_gateways(),
        by in 0..40usize,
    ) {
        let objects = world_of(&gateways);
        let mut turned = objects.clone();
        let at = by % turned.len();
        turned.rotate_left(at);
        let (one, two) = (cluster_of(objects).translate(), cluster_of(turned).translate());
        prop_assert!(one.translation == two.translation);
    }
}
