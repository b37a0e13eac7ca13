//! What a node will have and cost, before it is there.

use crate::{
    action::{Action, Fill},
    budget::Rate,
    eni::{Attachment, Eni},
    groups::SecurityGroup,
    limits::Limits,
    machine::{Input, Machine, Outcome, Output, Shared},
    node::Instance,
    plan::Problem,
    settings::Settings,
    subnet::Subnet,
    time::Time,
};
use penstock_config::address::{Block, Report, Unit};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

/// Rounds of calls and answers after which a machine that goes on has a fault.
const ROUNDS: u64 = 1000;

/// `DescribeNetworkInterfaces`, which takes two calls for a node: what is attached, and what is not.
const DESCRIBE: (&str, u32) = ("DescribeNetworkInterfaces", 2);

/// What a node will have, and which calls it takes to get there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// Interfaces, that which the instance begins with included.
    pub interfaces: u32,
    /// Addresses for pods.
    pub addresses: u32,
    /// How many of those are in prefixes of sixteen.
    pub in_prefixes: u32,
    /// Calls by name.
    pub calls: BTreeMap<&'static str, u32>,
    /// What stands in the way, if something does.
    pub problem: Option<Problem>,
}

/// What a node of a type will have when it runs so many pods at once, in subnets that have enough of
/// everything. It is what [`Machine`] does when everything goes well: nothing here knows how it plans.
pub fn forecast(kind: &str, limits: &Limits, settings: &Settings, pods: u32) -> Forecast {
    let mut rehearsal = Rehearsal::new(kind, limits, settings);
    let report = Report { pending: pods, ..Report::default() };
    let mut outputs = rehearsal.step(Input::Reported(report));
    for _ in 0..ROUNDS {
        let inputs: Vec<_> = outputs.into_iter().filter_map(|o| rehearsal.answer(o)).collect();
        if inputs.is_empty() {
            break;
        }
        rehearsal.now = rehearsal.now + Duration::from_millis(100);
        outputs = inputs.into_iter().flat_map(|input| rehearsal.step(input)).collect();
    }
    rehearsal.result()
}

impl Forecast {
    /// How long the calls take for so many nodes that start at once, where EC2 lets as many pass as is
    /// assumed of an account that does nothing else: the action that waits longest decides.
    pub fn throttled_for(all: &[(Self, u32)]) -> Duration {
        let mut calls: BTreeMap<&str, f64> = BTreeMap::new();
        for (forecast, nodes) in all {
            for (name, count) in &forecast.calls {
                *calls.entry(name).or_default() += f64::from(*count) * f64::from(*nodes);
            }
        }
        let wait = |(name, count): (&&str, &f64)| {
            let rate = Rate::of(name);
            ((count - rate.burst) / rate.each_second).max(0.0)
        };
        Duration::from_secs_f64(calls.iter().map(wait).fold(0.0, f64::max))
    }
}

/// A machine and an EC2 that always says yes.
struct Rehearsal {
    machine: Machine,
    shared: Shared,
    now: Time,
    next: u32,
    first: Eni,
    calls: BTreeMap<&'static str, u32>,
    problem: Option<Problem>,
}

impl Rehearsal {
    fn new(kind: &str, limits: &Limits, settings: &Settings) -> Self {
        let (id, vpc, zone) = ("subnet-1".to_owned(), "vpc-1".to_owned(), "a".to_owned());
        let instance = Instance {
            id: "i-1".into(),
            kind: kind.into(),
            zone: zone.clone(),
            vpc: vpc.clone(),
            subnet: id.clone(),
        };
        let mut settings = settings.clone();
        (settings.subnet_ids, settings.subnet_tags) = Default::default();
        (settings.security_groups, settings.security_group_tags) = Default::default();
        let free = u32::from(u16::MAX);
        let subnet = Subnet { id: id.clone(), vpc: vpc.clone(), zone, free, ..Subnet::default() };
        let group = SecurityGroup { id: "sg-1".into(), vpc, ..SecurityGroup::default() };
        let shared =
            Shared { subnets: [(id, subnet)].into(), groups: [("sg-1".into(), group)].into() };
        let now = Time(0);
        let mut rehearsal = Self {
            machine: Machine::new(instance, settings, 1, None, now),
            shared,
            now,
            next: u32::from(Ipv4Addr::new(10, 0, 0, 0)),
            first: interface("eni-0", BTreeSet::new()),
            calls: BTreeMap::new(),
            problem: None,
        };
        rehearsal.first.attachment = Some(attachment((0, 0)));
        rehearsal.first.owned = false;
        let limits = Input::Limits(Some(limits.clone()));
        rehearsal.machine.step(limits, &mut Shared::default(), now);
        let described = Input::Described { begun: now, enis: vec![rehearsal.first.clone()] };
        rehearsal.count(DESCRIBE);
        rehearsal.step(described);
        rehearsal
    }

    fn step(&mut self, input: Input) -> Vec<Output> {
        self.machine.step(input, &mut self.shared, self.now)
    }

    fn count(&mut self, (name, calls): (&'static str, u32)) {
        *self.calls.entry(name).or_default() += calls;
    }

    fn answer(&mut self, output: Output) -> Option<Input> {
        let (id, action) = match output {
            Output::Call(id, action) => (id, action),
            Output::Problem(problem) => {
                self.problem = problem;
                return None;
            }
            Output::Describe | Output::Tell(_) => return None,
        };
        self.count((action.name(), 1));
        let outcome = match action {
            Action::Create { fill, .. } => {
                let units = self.units(fill);
                Outcome::Created(interface(&format!("eni-{}", self.calls[action.name()]), units))
            }
            Action::Attach { .. } => Outcome::Attached("eni-attach".into()),
            Action::Assign { fill, .. } => Outcome::Assigned(self.units(fill)),
            _ => Outcome::Done,
        };
        Some(Input::Done(id, Ok(outcome)))
    }

    /// Addresses that nobody has.
    fn units(&mut self, fill: Fill) -> BTreeSet<Unit> {
        let mut next = |step| {
            self.next += step;
            Ipv4Addr::from(self.next)
        };
        match fill {
            Fill::Addresses(count) => (0..count).map(|_| Unit::Address(next(1))).collect(),
            Fill::Prefixes(count) => (0..count).map(|_| Unit::Block(Block::of(next(16)))).collect(),
        }
    }

    fn result(self) -> Forecast {
        let node = self.machine.node();
        let in_prefixes = node.allocatable().filter(|(_, unit)| matches!(unit, Unit::Block(_)));
        Forecast {
            interfaces: u32::try_from(node.enis.len()).unwrap_or(u32::MAX),
            addresses: node.available(),
            in_prefixes: in_prefixes.map(|(_, unit)| unit.size()).sum(),
            calls: self.calls,
            problem: self.problem,
        }
    }
}

fn attachment((card, index): (u8, u8)) -> Attachment {
    Attachment { id: "eni-attach".into(), card, index, delete_on_termination: true }
}

fn interface(id: &str, units: BTreeSet<Unit>) -> Eni {
    Eni {
        id: id.into(),
        mac: String::new(),
        vpc: String::new(),
        subnet: "subnet-1".into(),
        primary: Ipv4Addr::UNSPECIFIED,
        units,
        groups: ["sg-1".to_owned()].into(),
        tags: BTreeMap::new(),
        owned: true,
        attachment: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ProblemReason;

    fn calls(forecast: &Forecast) -> Vec<(&str, u32)> {
        forecast.calls.iter().map(|(name, count)| (*name, *count)).collect()
    }

    #[test]
    fn a_node_on_its_first_interface_takes_one_call_and_one_on_a_second_interface_three() {
        let limits = Limits::one_card(3, 10, true);
        let found = forecast("m5.large", &limits, &Settings::default(), 0);
        assert_eq!((found.interfaces, found.addresses), (1, 8));
        assert_eq!(
            calls(&found),
            [("AssignPrivateIpAddresses", 1), ("DescribeNetworkInterfaces", 2)]
        );
        let settings = Settings { first_interface_index: 1, ..Settings::default() };
        let found = forecast("m5.large", &limits, &settings, 0);
        assert_eq!((found.interfaces, found.addresses), (2, 8));
        assert_eq!(
            calls(&found),
            [
                ("AttachNetworkInterface", 1),
                ("CreateNetworkInterface", 1),
                ("DescribeNetworkInterfaces", 2),
                ("ModifyNetworkInterfaceAttribute", 1),
            ]
        );
    }

    #[test]
    fn prefixes_take_fewer_interfaces_and_what_does_not_fit_is_said() {
        let limits = Limits::one_card(3, 10, true);
        let settings = Settings { prefixes: true, ..Settings::default() };
        let found = forecast("m5.large", &limits, &settings, 110);
        assert_eq!((found.interfaces, found.addresses, found.in_prefixes), (1, 112, 112));
        let found = forecast("m5.large", &limits, &Settings::default(), 30);
        assert_eq!((found.interfaces, found.addresses), (3, 27));
        let problem = found.problem.unwrap();
        assert_eq!((problem.reason, problem.missing), (ProblemReason::InstanceFull, 3));
    }

    #[test]
    fn many_nodes_at_once_wait_for_the_action_that_is_called_most_beyond_its_burst() {
        let limits = Limits::one_card(3, 10, true);
        let one = forecast("m5.large", &limits, &Settings::default(), 0);
        assert_eq!(Forecast::throttled_for(&[(one.clone(), 5)]), Duration::ZERO);
        // 120 calls, 20 of them at once, 5 in each second.
        assert_eq!(Forecast::throttled_for(&[(one, 120)]), Duration::from_secs(20));
    }
}
