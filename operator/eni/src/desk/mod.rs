//! All nodes of a leader: a [`Machine`] for each, what they share, and how many calls may be made.

mod event;
mod queue;

pub use event::{Effect, Event, Look, NodeKey};
pub use queue::Queue;

use crate::{
    eni::Eni,
    failure::{Failure, Reason},
    groups::SecurityGroup,
    leak::{Leaks, Loose},
    limits::Limits,
    machine::{Input, Machine, Output, Shared},
    node::Instance,
    plan::ProblemReason,
    settings::Settings,
    subnet::Subnets,
    time::Time,
};
use penstock_config::address::{BLOCK_SIZE, Report};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How often what nodes share is looked at.
const REFRESH: Duration = Duration::from_secs(60);

/// How often while pods wait since no subnet has addresses: somebody may give some back.
const WANTED: Duration = Duration::from_secs(15);

/// How soon after that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// How long an interface that belongs to no node is left, in case its node is only late.
const GRACE: Duration = Duration::from_secs(300);

/// In place of the time of the next look, while one is under way: its answer sets the time.
const UNDER_WAY: Time = Time(u64::MAX);

/// Between looks at nodes to which nothing happened.
const TICK: Duration = Duration::from_secs(1);

/// All nodes of a leader. Meets the world through [`Event`] and [`Effect`]; reads no clock.
#[derive(Debug)]
pub struct Desk {
    settings: Settings,
    term: u32,
    took_over: Option<Time>,
    nodes: BTreeMap<String, Entry>,
    shared: Shared,
    /// When each VPC is looked at next.
    vpcs: BTreeMap<String, Time>,
    types: BTreeMap<String, Kind>,
    /// What nodes said that are not known yet.
    said: BTreeMap<String, Report>,
    /// Why looks failed last, by call.
    trouble: BTreeMap<&'static str, Failure>,
    leaks: Leaks,
    collect: Time,
    all_known: bool,
    ticked: Time,
    queue: Queue,
}

#[derive(Debug)]
struct Entry {
    key: NodeKey,
    machine: Machine,
    /// A description that came before what is needed to make something of it.
    early: Option<(Time, Vec<Eni>)>,
}

impl Entry {
    fn lacks_a_subnet(&self) -> bool {
        self.machine.problem().is_some_and(|problem| problem.reason == ProblemReason::NoSubnet)
    }
}

/// What is known of an instance type.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// It is to be asked for at a time.
    Unknown(Time),
    Known(Option<Limits>),
}

impl Desk {
    /// A leader of a term, which is higher than that of any before. If there was one before, it took
    /// over from that at a time.
    pub fn new(settings: Settings, term: u32, took_over: Option<Time>, now: Time) -> Self {
        Self {
            settings,
            term,
            took_over,
            nodes: BTreeMap::new(),
            shared: Shared::default(),
            vpcs: BTreeMap::new(),
            types: BTreeMap::new(),
            said: BTreeMap::new(),
            trouble: BTreeMap::new(),
            leaks: Leaks::default(),
            collect: now + REFRESH,
            all_known: false,
            ticked: now,
            queue: Queue::default(),
        }
    }

    /// What is known of a node.
    pub fn machine(&self, node: &str) -> Option<&Machine> {
        self.nodes.get(node).map(|entry| &entry.machine)
    }

    /// The nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeKey, &Machine)> {
        self.nodes.values().map(|entry| (&entry.key, &entry.machine))
    }

    /// Calls that wait, and how many may be made.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// When [`Event::Tick`] is due, if nothing happens before.
    pub fn due(&self) -> Time {
        let tick = self.ticked + TICK;
        self.queue.due().map_or(tick, |due| due.min(tick))
    }

    /// Takes in what happened and says what follows. The work for what happens to one node does not
    /// grow with their number.
    pub fn step(&mut self, event: Event, now: Time) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.learn(&event, now);
        match event {
            Event::Node(name, instance) => self.node(name, instance, now, &mut effects),
            Event::NodeGone(name) => {
                self.nodes.remove(&name);
                self.said.remove(&name);
            }
            Event::NodesKnown => self.all_known = true,
            Event::Reported(node, report) if !self.nodes.contains_key(&node) => {
                self.said.insert(node, report);
            }
            Event::Reported(node, report) => {
                self.input(&node, Input::Reported(report), now, &mut effects);
            }
            Event::Called(key, id, _, result) if self.is_current(&key) => {
                self.input(&key.node, Input::Done(id, result), now, &mut effects);
            }
            Event::Described(key, begun, result) if self.is_current(&key) => {
                self.described(&key.node, begun, result, now, &mut effects);
            }
            Event::Vpc(vpc, result) => self.vpc(vpc, result, now, &mut effects),
            Event::Type(kind, result) => {
                let known = result.map_or(Kind::Unknown(now + AGAIN), Kind::Known);
                self.types.insert(kind, known);
                self.wake(now, &mut effects);
            }
            Event::Loose(Ok(loose)) => self.loose(&loose, now),
            Event::Called(..) | Event::Described(..) | Event::Loose(Err(_)) => {}
            Event::Deleted(_) | Event::Tick => {}
        }
        if self.ticked + TICK <= now {
            self.tick(now, &mut effects);
        }
        effects.extend(self.queue.take(now));
        effects
    }

    /// Why a look failed last, if one does: the call and EC2's answer.
    pub fn trouble(&self) -> Option<(&'static str, &Failure)> {
        self.trouble.iter().next().map(|(name, failure)| (*name, failure))
    }

    /// EC2 throttled a call: all of that name become fewer.
    fn learn(&mut self, event: &Event, now: Time) {
        match event.looked() {
            Some((name, Some(failure))) => _ = self.trouble.insert(name, failure.clone()),
            Some((name, None)) => _ = self.trouble.remove(name),
            None => {}
        }
        if let Some((name, failure)) = event.failure()
            && failure.reason == Reason::Throttled
        {
            self.queue.throttled(name, now);
        }
    }

    fn node(&mut self, name: String, instance: Instance, now: Time, effects: &mut Vec<Effect>) {
        let key = NodeKey { node: name, instance: instance.id.clone() };
        if self.is_current(&key) {
            return;
        }
        let (kind, settings) = (instance.kind.clone(), self.settings.clone());
        let machine = Machine::new(instance, settings, self.term, self.took_over, now);
        let node = key.node.clone();
        self.nodes.insert(node.clone(), Entry { key, machine, early: None });
        self.types.entry(kind.clone()).or_insert(Kind::Unknown(now));
        self.ask_for(kind, now);
        let said = self.said.remove(&node).map_or(Input::Tick, Input::Reported);
        self.input(&node, said, now, effects);
    }

    fn ask_for(&mut self, kind: String, now: Time) {
        if let Some(Kind::Unknown(at)) = self.types.get_mut(&kind)
            && *at <= now
        {
            *at = UNDER_WAY;
            self.queue.push(Effect::Look(Look::Type(kind)));
        }
    }

    fn is_current(&self, key: &NodeKey) -> bool {
        self.nodes.get(&key.node).is_some_and(|entry| entry.key == *key)
    }

    fn described(
        &mut self,
        node: &str,
        begun: Time,
        result: Result<Vec<Eni>, Failure>,
        now: Time,
        effects: &mut Vec<Effect>,
    ) {
        let Ok(enis) = result else {
            return self.input(node, Input::NotDescribed, now, effects);
        };
        let vpc = enis.iter().map(|eni| &eni.vpc).find(|vpc| !vpc.is_empty());
        if let Some(vpc) = vpc.cloned() {
            self.vpcs.entry(vpc).or_insert(now);
        }
        if let Some(entry) = self.nodes.get_mut(node) {
            entry.early = Some((begun, enis));
        }
        self.go_on(node, now, effects);
        self.look_at_vpcs(now);
    }

    /// A description is made use of as soon as the node's VPC and type are known: without them it would
    /// look as if there were no subnet.
    fn go_on(&mut self, node: &str, now: Time, effects: &mut Vec<Effect>) {
        let Some(entry) = self.nodes.get_mut(node) else { return };
        let Some(Kind::Known(limits)) = self.types.get(&entry.machine.node().instance.kind) else {
            return;
        };
        let subnets = &self.shared.subnets;
        let is_known = |eni: &Eni| subnets.contains_key(&eni.subnet);
        let Some((begun, enis)) = entry.early.take_if(|(_, enis)| enis.iter().all(is_known)) else {
            return;
        };
        if entry.machine.node().limits != *limits {
            let limits = limits.clone();
            self.input(node, Input::Limits(limits), now, effects);
        }
        self.input(node, Input::Described { begun, enis }, now, effects);
    }

    fn vpc(
        &mut self,
        vpc: String,
        result: Result<(Subnets, BTreeMap<String, SecurityGroup>), Failure>,
        now: Time,
        effects: &mut Vec<Effect>,
    ) {
        let Ok((subnets, groups)) = result else {
            self.vpcs.insert(vpc, now + AGAIN);
            return;
        };
        self.vpcs.insert(vpc.clone(), now + REFRESH);
        self.shared.groups.retain(|_, group| group.vpc != vpc);
        self.shared.groups.extend(groups);
        let known = &mut self.shared.subnets;
        known.retain(|id, subnet| subnet.vpc != vpc || subnets.contains_key(id));
        for (id, mut seen) in subnets {
            // What calls found out is not shown by a description, but one that shows more free addresses
            // than were known tells of others that gave them back: there may be a prefix among them.
            if let Some(known) = known.get(&id) {
                let grown = seen.free >= known.free + BLOCK_SIZE;
                seen.full_until = known.full_until.filter(|_| !grown);
                seen.fragmented_until = known.fragmented_until.filter(|_| !grown);
            }
            known.insert(id, seen);
        }
        self.wake(now, effects);
    }

    /// Nodes whose description waits.
    fn wake(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let early = self.nodes.iter().filter(|(_, entry)| entry.early.is_some());
        let early: Vec<_> = early.map(|(node, _)| node.clone()).collect();
        early.iter().for_each(|node| self.go_on(node, now, effects));
    }

    fn loose(&mut self, loose: &[Loose], now: Time) {
        let nodes: BTreeSet<_> =
            self.nodes.values().map(|entry| entry.key.instance.clone()).collect();
        for leaked in self.leaks.observe(loose, &nodes, GRACE, now) {
            self.queue.push(Effect::Delete(leaked));
        }
    }

    fn tick(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.ticked = now;
        let nodes: Vec<_> = self.nodes.keys().cloned().collect();
        nodes.iter().for_each(|node| self.input(node, Input::Tick, now, effects));
        if self.nodes.values().any(Entry::lacks_a_subnet) {
            for at in self.vpcs.values_mut().filter(|at| **at != UNDER_WAY) {
                *at = (*at).min(now + WANTED);
            }
        }
        self.look_at_vpcs(now);
        let kinds: Vec<_> = self.types.keys().cloned().collect();
        kinds.into_iter().for_each(|kind| self.ask_for(kind, now));
        if self.all_known && self.collect <= now {
            self.collect = now + REFRESH;
            let vpcs = self.vpcs.keys().cloned().map(Look::Loose).map(Effect::Look);
            vpcs.for_each(|look| self.queue.push(look));
        }
    }

    fn look_at_vpcs(&mut self, now: Time) {
        for (vpc, at) in self.vpcs.iter_mut().filter(|(_, at)| **at <= now) {
            *at = UNDER_WAY;
            self.queue.push(Effect::Look(Look::Vpc(vpc.clone())));
        }
    }

    fn input(&mut self, node: &str, input: Input, now: Time, effects: &mut Vec<Effect>) {
        let Some(entry) = self.nodes.get_mut(node) else { return };
        for output in entry.machine.step(input, &mut self.shared, now) {
            let key = || entry.key.clone();
            match output {
                Output::Call(id, action) => self.queue.push(Effect::Call(key(), id, action)),
                Output::Describe => self.queue.push(Effect::Look(Look::Interfaces(key()))),
                Output::Tell(told) => effects.push(Effect::Tell(key().node, told)),
                Output::Problem(problem) => effects.push(Effect::Problem(key().node, problem)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CONSISTENCY, action::Action, eni::Attachment, subnet::Subnet};
    use std::net::Ipv4Addr;

    struct Rig {
        desk: Desk,
        now: Time,
    }

    fn key(n: u32) -> NodeKey {
        NodeKey { node: format!("node-{n}"), instance: format!("i-{n}") }
    }

    fn instance(n: u32) -> Instance {
        let id = format!("i-{n}");
        Instance { id, kind: "m5.large".into(), zone: "a".into(), ..Instance::default() }
    }

    fn first(n: u8) -> Eni {
        Eni {
            id: format!("eni-{n}").as_str().into(),
            mac: format!("02:00:00:00:00:{n:02x}"),
            vpc: "vpc-1".into(),
            subnet: "subnet-1".into(),
            primary: Ipv4Addr::new(10, 0, 0, n),
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

    fn vpc(free: u32) -> Event {
        let subnet = Subnet {
            id: "subnet-1".into(),
            vpc: "vpc-1".into(),
            zone: "a".into(),
            cidr: "10.0.0.0/16".into(),
            free,
            ..Subnet::default()
        };
        let group =
            SecurityGroup { id: "sg-1".into(), vpc: "vpc-1".into(), ..SecurityGroup::default() };
        let subnets = [("subnet-1".to_owned(), subnet)].into();
        Event::Vpc("vpc-1".into(), Ok((subnets, [("sg-1".to_owned(), group)].into())))
    }

    fn limits() -> Event {
        Event::Type("m5.large".into(), Ok(Some(Limits::one_card(3, 10, true))))
    }

    impl Rig {
        fn new() -> Self {
            let now = Time(1_000_000);
            Self { desk: Desk::new(Settings::default(), 1, None, now), now }
        }

        fn step(&mut self, event: Event) -> Vec<Effect> {
            self.desk.step(event, self.now)
        }

        fn wait(&mut self, secs: u64) -> Vec<Effect> {
            self.now = self.now + Duration::from_secs(secs);
            self.step(Event::Tick)
        }

        /// A node that has said what it needs and whose interface is known.
        fn node(&mut self, n: u8) -> Vec<Effect> {
            let mut effects = self.step(Event::Node(key(n.into()).node, instance(n.into())));
            effects.extend(self.step(limits()));
            effects.extend(self.step(Event::Reported(key(n.into()).node, Report::default())));
            let described = Event::Described(key(n.into()), self.now, Ok(vec![first(n)]));
            effects.extend(self.step(described));
            effects
        }
    }

    fn calls(effects: &[Effect]) -> Vec<&'static str> {
        effects.iter().filter_map(Effect::call).collect()
    }

    #[test]
    fn a_node_is_planned_for_once_its_type_its_interfaces_and_their_vpc_are_known() {
        let mut rig = Rig::new();
        let asked = rig.node(1);
        assert_eq!(
            calls(&asked),
            ["DescribeInstanceTypes", "DescribeNetworkInterfaces", "DescribeSubnets"]
        );
        assert!(!asked.iter().any(|e| matches!(e, Effect::Problem(..))), "{asked:?}");
        let effects = rig.step(vpc(1000));
        assert_eq!(calls(&effects), ["AssignPrivateIpAddresses"]);
        assert!(effects.iter().any(|e| matches!(e, Effect::Tell(node, _) if node == "node-1")));
        // A second one needs no look at what they share.
        assert_eq!(calls(&rig.node(2)), ["DescribeNetworkInterfaces", "AssignPrivateIpAddresses"]);
    }

    #[test]
    fn what_is_said_of_an_earlier_instance_of_a_name_counts_for_nothing() {
        let mut rig = Rig::new();
        rig.node(1);
        let effects = rig.step(vpc(1000));
        let Some(Effect::Call(old, id, action)) =
            effects.iter().find(|e| matches!(e, Effect::Call(..)))
        else {
            panic!("{effects:?}")
        };
        rig.step(Event::Node("node-1".into(), instance(9)));
        let known = rig.desk.machine("node-1").unwrap().node().clone();
        rig.step(Event::Called(old.clone(), *id, action.name(), Err(Failure::no_answer())));
        rig.step(Event::Described(old.clone(), rig.now, Ok(vec![first(1)])));
        assert_eq!(*rig.desk.machine("node-1").unwrap().node(), known);
        assert_eq!(known.instance.id, "i-9");
    }

    #[test]
    fn a_throttled_call_waits_and_holds_no_other_one_up() {
        let mut rig = Rig::new();
        rig.node(1);
        rig.step(vpc(10_000));
        for n in 2..=30 {
            rig.node(n);
        }
        let waiting = |rig: &Rig, name: &str| {
            rig.desk.queue().waiting().find(|(n, _)| *n == name).map_or(0, |(_, count)| count)
        };
        let before = waiting(&rig, "AssignPrivateIpAddresses");
        assert!(before > 0, "thirty at once are more than the budget");
        let throttled = Failure::of_ec2("RequestLimitExceeded", "");
        let id = crate::CallId { term: 1, count: 1 };
        rig.step(Event::Called(key(1), id, "AssignPrivateIpAddresses", Err(throttled)));
        let rate = rig.desk.queue().rate("AssignPrivateIpAddresses");
        assert!(rate < crate::Rate::CHANGES.each_second);
        assert!(rig.desk.due() > rig.now);
        // The next node's look goes out at once.
        let effects = rig.step(Event::Node("node-40".into(), instance(40)));
        assert!(calls(&effects).contains(&"DescribeNetworkInterfaces"));
        rig.wait(20);
        assert!(waiting(&rig, "AssignPrivateIpAddresses") < before);
    }

    #[test]
    fn what_calls_found_out_about_a_subnet_outlives_a_look_at_it() {
        let mut rig = Rig::new();
        rig.node(1);
        let effects = rig.step(vpc(1000));
        let Some(Effect::Call(key, id, Action::Assign { .. })) = effects.last() else {
            panic!("{effects:?}")
        };
        let full = Failure::of_ec2("InsufficientFreeAddressesInSubnet", "");
        rig.step(Event::Called(key.clone(), *id, "AssignPrivateIpAddresses", Err(full)));
        let known = rig.desk.shared.subnets["subnet-1"].free;
        rig.step(vpc(known + 15));
        assert!(rig.desk.shared.subnets["subnet-1"].full_until.is_some());
        // Others gave back as much as a prefix has.
        rig.step(vpc(known + 31));
        assert!(rig.desk.shared.subnets["subnet-1"].full_until.is_none());
    }

    #[test]
    fn a_subnet_that_pods_wait_for_is_looked_at_more_often() {
        let mut rig = Rig::new();
        rig.node(1);
        rig.step(vpc(1000));
        let looks = |effects: &[Effect]| calls(effects).contains(&"DescribeSubnets");
        assert!(!looks(&rig.wait(15)), "nobody waits");
        assert!(looks(&rig.wait(45)));
        rig.step(vpc(0));
        let report = Report { pending: 30, ..Report::default() };
        rig.step(Event::Reported("node-1".into(), report));
        assert!(rig.desk.nodes["node-1"].lacks_a_subnet());
        assert!(!looks(&rig.wait(1)));
        assert!(looks(&rig.wait(15)));
        assert!(!looks(&rig.wait(15)), "the answer is not here yet");
    }

    #[test]
    fn an_interface_that_is_not_shown_is_looked_for_again_when_descriptions_can_be_trusted() {
        let mut rig = Rig::new();
        rig.node(1);
        rig.step(vpc(1000));
        let looks = |effects: &[Effect]| calls(effects).contains(&"DescribeNetworkInterfaces");
        let second = Eni { id: "eni-2".into(), ..first(2) };
        let both = vec![first(1), second];
        assert!(looks(&rig.wait(60)));
        rig.step(Event::Described(key(1), rig.now, Ok(both)));
        assert!(looks(&rig.wait(60)));
        rig.step(Event::Described(key(1), rig.now, Ok(vec![first(1)])));
        let known = |rig: &Rig| rig.desk.machine("node-1").unwrap().node().enis.len();
        assert_eq!(known(&rig), 2, "that may be what was");
        assert!(!looks(&rig.wait(CONSISTENCY.as_secs() - 1)));
        assert!(looks(&rig.wait(1)), "not a minute later");
        rig.step(Event::Described(key(1), rig.now, Ok(vec![first(1)])));
        assert_eq!(known(&rig), 1);
    }

    #[test]
    fn what_belongs_to_no_node_is_deleted_but_not_before_all_nodes_are_known() {
        let mut rig = Rig::new();
        rig.node(1);
        rig.step(vpc(1000));
        let looks = |effects: &[Effect]| {
            effects.iter().any(|e| matches!(e, Effect::Look(Look::Loose(vpc)) if vpc == "vpc-1"))
        };
        assert!(!looks(&rig.wait(61)));
        rig.step(Event::NodesKnown);
        assert!(looks(&rig.wait(1)));
        let loose = |instance: &str| Loose { id: "eni-9".into(), instance: instance.into() };
        rig.step(Event::Loose(Ok(vec![loose("i-7")])));
        rig.wait(300);
        let effects = rig.step(Event::Loose(Ok(vec![loose("i-7")])));
        assert!(effects.contains(&Effect::Delete("eni-9".into())), "{effects:?}");
    }

    #[test]
    fn what_a_node_says_before_it_is_known_is_not_lost() {
        let mut rig = Rig::new();
        rig.step(Event::Reported("node-1".into(), Report { pending: 3, ..Report::default() }));
        rig.step(Event::Node("node-1".into(), instance(1)));
        assert_eq!(rig.desk.machine("node-1").unwrap().node().demand.pending, 3);
    }

    #[test]
    fn what_could_not_be_looked_at_is_looked_at_again() {
        let mut rig = Rig::new();
        rig.node(1);
        let failure = Failure::of_ec2("UnauthorizedOperation", "You are not authorized");
        rig.step(Event::Described(key(1), rig.now, Err(failure)));
        assert_eq!(rig.desk.trouble().map(|(name, _)| name), Some("DescribeNetworkInterfaces"));
        rig.step(Event::Described(key(1), rig.now, Ok(vec![first(1)])));
        assert_eq!(rig.desk.trouble(), None);
        rig.step(Event::Vpc("vpc-1".into(), Err(Failure::no_answer())));
        rig.step(Event::Type("m5.large".into(), Err(Failure::no_answer())));
        let asked = rig.wait(5);
        assert!(calls(&asked).contains(&"DescribeSubnets"), "{asked:?}");
        assert!(calls(&asked).contains(&"DescribeInstanceTypes"), "{asked:?}");
    }
}
