//! The operator: the desk of all nodes.

use super::cloud::{Cloud, VPC};
use penstock_eni::{
    Desk, Eni, Event, Failure, Instance, Limits, Look, Machine, NodeKey, SecurityGroup, Settings,
    Time, Watermarks,
};
use std::{collections::BTreeMap, time::Duration};

/// The type of all instances.
const TYPE: &str = "m5.large";

/// An operator that leads.
#[derive(Debug)]
pub(super) struct SimOperator {
    /// Its term.
    pub(super) term: u32,
    pub(super) desk: Desk,
    /// When it is to be woken next.
    pub(super) wake: u64,
}

impl SimOperator {
    pub(super) fn new(term: u32, seed: u64, now: u64) -> Self {
        let desk = Desk::new(settings(seed), term, Some(Time(now)), Time(now));
        Self { term, desk, wake: u64::MAX }
    }

    /// What is known of a node.
    ///
    /// # Panics
    /// Where it was never heard of.
    pub(super) fn machine(&self, node: &str) -> &Machine {
        self.desk.machine(node).expect("every node was named")
    }
}

/// What the API server says of a node's instance: where it is, its first interface says.
pub(super) fn instance(id: &str) -> Instance {
    Instance { id: id.to_owned(), kind: TYPE.into(), zone: "a".into(), ..Instance::default() }
}

/// What EC2 answers to a look: a node's interfaces as they are `seen`, all else as it is now.
pub(super) fn answer(
    cloud: &impl Cloud,
    look: Look,
    begun: Time,
    seen: impl FnOnce(&NodeKey) -> Vec<Eni>,
) -> Event {
    match look {
        Look::Vpc(vpc) => {
            let id = "sg-node".to_owned();
            let group =
                SecurityGroup { id: id.clone(), vpc: VPC.into(), ..SecurityGroup::default() };
            Event::Vpc(vpc, Ok((cloud.subnets(), BTreeMap::from([(id, group)]))))
        }
        Look::Type(kind) => {
            let limits = (kind == TYPE).then(limits);
            Event::Type(kind, Ok(limits))
        }
        Look::Loose(_) => Event::Loose(Ok(cloud.loose())),
        Look::Interfaces(key) => {
            let seen = seen(&key);
            Event::Described(key, begun, Ok(seen))
        }
    }
}

/// The same where EC2 refuses it.
pub(super) fn refused(look: Look, begun: Time, failure: Failure) -> Event {
    match look {
        Look::Vpc(vpc) => Event::Vpc(vpc, Err(failure)),
        Look::Type(kind) => Event::Type(kind, Err(failure)),
        Look::Loose(_) => Event::Loose(Err(failure)),
        Look::Interfaces(key) => Event::Described(key, begun, Err(failure)),
    }
}

/// Those of an m5.large.
pub(super) fn limits() -> Limits {
    Limits::one_card(3, 10, true)
}

/// Each script has others: with and without prefixes, with the nodes' first interfaces and without.
pub(super) fn settings(seed: u64) -> Settings {
    let mut random = fastrand::Rng::with_seed(seed ^ 1);
    Settings {
        watermarks: Watermarks {
            min_allocate: random.u32(0..6),
            pre_allocate: random.u32(1..9),
            max_allocate: None,
            max_above_watermark: random.u32(0..5),
        },
        first_interface_index: random.u8(0..2),
        prefixes: random.bool(),
        release: true,
        release_delay: Duration::from_secs(if random.bool() { 0 } else { random.u64(0..20) }),
        use_primary_address: random.bool(),
        ..Settings::default()
    }
}
