//! The operator: a machine for each node, and what they share.

use super::cloud::VPC;
use penstock_eni::{
    Instance, Leaks, Limits, Machine, SecurityGroup, Settings, Shared, Time, Watermarks,
};
use std::{collections::BTreeMap, time::Duration};

/// An operator that leads.
#[derive(Debug)]
pub(super) struct SimOperator {
    /// Its term.
    pub(super) term: u32,
    /// From another one, if there was one.
    took_over: Option<Time>,
    /// By instance.
    pub(super) machines: BTreeMap<String, Machine>,
    pub(super) shared: Shared,
    pub(super) leaks: Leaks,
}

impl SimOperator {
    pub(super) fn new(term: u32, now: u64) -> Self {
        let took_over = (term > 1).then_some(Time(now));
        let id = "sg-node".to_owned();
        let group = SecurityGroup { id: id.clone(), vpc: VPC.into(), ..SecurityGroup::default() };
        let shared = Shared { groups: [(id, group)].into(), ..Shared::default() };
        Self { term, took_over, machines: BTreeMap::new(), shared, leaks: Leaks::default() }
    }

    /// Nodes that are new, and nodes that are gone.
    pub(super) fn nodes(&mut self, instances: &[String], seed: u64, now: u64) {
        self.machines.retain(|instance, _| instances.contains(instance));
        for (number, instance) in instances.iter().enumerate() {
            let new = || {
                let settings = settings(seed, number);
                let mut machine =
                    Machine::new(at(instance), settings, self.term, self.took_over, Time(now));
                let input = penstock_eni::Input::Limits(Some(limits()));
                machine.step(input, &mut Shared::default(), Time(now.saturating_sub(1)));
                machine
            };
            self.machines.entry(instance.clone()).or_insert_with(new);
        }
    }
}

fn at(instance: &str) -> Instance {
    Instance {
        id: instance.to_owned(),
        kind: "m5.large".into(),
        zone: "a".into(),
        vpc: VPC.into(),
        subnet: super::FIRST.into(),
    }
}

/// Those of an m5.large.
pub(super) fn limits() -> Limits {
    Limits::one_card(3, 10, true)
}

/// Each node differs: with and without prefixes, with its first interface and without.
pub(super) fn settings(seed: u64, number: usize) -> Settings {
    let mut random = fastrand::Rng::with_seed(seed ^ (number as u64 + 1));
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
