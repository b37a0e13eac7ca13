//! All that is known of one node, and what follows from it. It meets the world only through [`Input`]
//! and [`Output`].

mod answers;
mod tell;

use crate::{
    action::Action,
    eni::{Attachment, Eni},
    failure::Failure,
    groups::SecurityGroup,
    limits::Limits,
    node::{Instance, Node, Release, ReleaseState},
    plan::{Problem, plan},
    record::{CONSISTENCY, Trace},
    settings::Settings,
    subnet::Subnets,
    time::Time,
};
use penstock_config::address::{
    Epoch, Held, Interface, InterfaceId, NodeAddresses, Report, Unit, Verdict,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How often a node's interfaces are looked at without a reason.
const LOOK: Duration = Duration::from_secs(60);

/// How soon after a call that failed since something else was known.
const LOOK_SOON: Duration = Duration::from_secs(1);

/// Which call an answer is to. Unique among all calls of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    /// Of the leader.
    pub term: u32,
    /// Of its calls for this node.
    pub count: u32,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// `DescribeNetworkInterfaces` for the instance: those attached to it, and those that were made for
    /// it (by their tags) and are attached to nothing.
    Described {
        /// When the call was made.
        begun: Time,
        /// All of them.
        enis: Vec<Eni>,
    },
    /// That call failed.
    NotDescribed,
    /// The node said something.
    Reported(Report),
    /// A call was answered.
    Done(CallId, Result<Outcome, Failure>),
    /// The settings changed.
    Settings(Settings),
    /// The instance type was looked up.
    Limits(Option<Limits>),
    /// Time went by, or subnets and groups changed.
    Tick,
}

/// What a call brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An interface, attached to nothing.
    Created(Eni),
    /// An attachment's id.
    Attached(String),
    /// Addresses and prefixes.
    Assigned(BTreeSet<Unit>),
    /// What was asked for.
    Done,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A call. The id is part of its client token, so that a repetition has no second effect.
    Call(CallId, Action),
    /// Look at the node's interfaces.
    Describe,
    /// The node is told this.
    Tell(NodeAddresses),
    /// Why pods may wait now, or that they need not any more.
    Problem(Option<Problem>),
}

/// What nodes share: the VPC as it is known, and what calls found out about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// Subnets.
    pub subnets: Subnets,
    /// Security groups.
    pub groups: BTreeMap<String, SecurityGroup>,
}

/// All that is known of one node.
#[derive(Clone, Debug)]
pub struct Machine {
    node: Node,
    traces: BTreeMap<InterfaceId, Trace>,
    /// Interfaces that were deleted, and when: descriptions may show them a while.
    gone: BTreeMap<InterfaceId, Time>,
    /// Interfaces with a call that was not answered: they are left alone until a description begins
    /// then or later.
    unsure: BTreeMap<InterfaceId, Time>,
    calls: BTreeMap<CallId, Action>,
    /// Calls that make an interface and were not answered: repeated then, with the same token.
    again: Vec<(Time, CallId, Action)>,
    next_call: CallId,
    look: Look,
    /// What the node is told; before it was heard and seen it is told nothing.
    told: Option<NodeAddresses>,
    epoch: Epoch,
    described: bool,
    /// What the node knew when it was heard last.
    heard: Option<BTreeMap<InterfaceId, Interface>>,
    /// A description that came before.
    early: Option<(Time, Vec<Eni>)>,
    /// When it took over from another leader, until a description shows all that one did.
    took_over: Option<Time>,
    refused: Option<(Time, Problem)>,
    problem: Option<Problem>,
}

#[derive(Clone, Debug)]
struct Look {
    due: Time,
    running: bool,
}

impl Machine {
    /// Begins with nothing known. The term is that of this leader, higher than any before; if there
    /// was one before, it took over from that at a time.
    pub fn new(
        instance: Instance,
        settings: Settings,
        term: u32,
        took_over: Option<Time>,
        now: Time,
    ) -> Self {
        let node = Node { instance, settings, ..Node::default() };
        Self {
            node,
            traces: BTreeMap::new(),
            gone: BTreeMap::new(),
            unsure: BTreeMap::new(),
            calls: BTreeMap::new(),
            again: Vec::new(),
            next_call: CallId { term, count: 0 },
            look: Look { due: now, running: false },
            told: None,
            epoch: Epoch { term, count: 0 },
            described: false,
            heard: None,
            early: None,
            took_over,
            refused: None,
            problem: None,
        }
    }

    /// What is known of the node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Why pods of the node may wait, if they may.
    pub fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref()
    }

    /// Takes in what happened and says what follows.
    pub fn step(&mut self, input: Input, shared: &mut Shared, now: Time) -> Vec<Output> {
        match input {
            Input::Described { begun, enis } => self.described(begun, enis, now),
            Input::NotDescribed => {
                self.look = Look { due: now + Duration::from_secs(5), running: false };
            }
            Input::Reported(report) => self.reported(&report, now),
            Input::Done(id, result) => self.done(id, result, shared, now),
            Input::Settings(settings) => self.node.settings = settings,
            Input::Limits(limits) => self.node.limits = limits,
            Input::Tick => {}
        }
        let mut outputs = Vec::new();
        if self.look.due <= now && !self.look.running {
            self.look = Look { due: now + LOOK, running: true };
            outputs.push(Output::Describe);
        }
        self.call_again(now, &mut outputs);
        if self.described {
            self.go_on(shared, now, &mut outputs);
        }
        outputs
    }

    /// Plans, and begins what the plan says.
    fn go_on(&mut self, shared: &mut Shared, now: Time, outputs: &mut Vec<Output>) {
        self.node.paused.retain(|_, until| *until > now);
        let mut plan = plan(&self.node, &shared.subnets, &shared.groups, now);
        for action in plan.actions.drain(..) {
            match action {
                Action::Propose(held) => {
                    self.epoch = self.epoch.next();
                    let state = ReleaseState::Proposed;
                    let release = Release { epoch: self.epoch, state, adopted: None };
                    self.node.releases.insert(held, release);
                }
                Action::Withdraw(held) => {
                    self.node.releases.remove(&held);
                }
                action => outputs.push(self.call(action, shared)),
            }
        }
        self.refused.take_if(|(until, _)| *until <= now);
        let problem = plan.problem.or_else(|| self.refused.as_ref().map(|(_, p)| p.clone()));
        if problem != self.problem {
            self.problem.clone_from(&problem);
            outputs.push(Output::Problem(problem));
        }
        outputs.extend(self.tell(&shared.subnets));
    }

    fn call(&mut self, action: Action, shared: &mut Shared) -> Output {
        match &action {
            Action::Unassign { interface, units } => {
                for unit in units {
                    self.giving(&Held::unit(interface, *unit));
                }
            }
            Action::Detach { interface, .. } => self.giving(&Held::interface(interface)),
            Action::Create { subnet, fill, .. } => shared.take(subnet, fill.addresses() + 1),
            Action::Assign { interface, fill } => {
                if let Some(eni) = self.node.enis.get(interface) {
                    shared.take(&eni.subnet, fill.addresses());
                }
            }
            _ => {}
        }
        self.next_call.count += 1;
        self.calls.insert(self.next_call, action.clone());
        self.node.running.push(action.clone());
        Output::Call(self.next_call, action)
    }

    fn giving(&mut self, held: &Held) {
        if let Some(release) = self.node.releases.get_mut(held) {
            release.state = ReleaseState::Giving;
        }
    }

    fn call_again(&mut self, now: Time, outputs: &mut Vec<Output>) {
        let due = |(at, ..): &mut (Time, CallId, Action)| *at <= now;
        for (_, id, action) in self.again.extract_if(.., due) {
            self.calls.insert(id, action.clone());
            outputs.push(Output::Call(id, action));
        }
    }

    fn described(&mut self, begun: Time, mut enis: Vec<Eni>, now: Time) {
        self.look = Look { due: (now + LOOK).min(self.look.due.max(now)), running: false };
        let Some(known) = &self.heard else {
            self.early = Some((begun, enis));
            return;
        };
        self.described = true;
        if let Some((vpc, subnet)) = home(&enis) {
            self.node.instance.vpc.clone_from(vpc);
            self.node.instance.subnet.clone_from(subnet);
        }
        self.took_over.take_if(|at| *at + CONSISTENCY <= begun);
        if let Some(at) = self.took_over {
            inherited(known, &mut enis);
            self.look.due = self.look.due.min(at + CONSISTENCY);
        }
        self.gone.retain(|_, at| *at + CONSISTENCY > begun);
        let shown: BTreeSet<_> = enis.iter().map(|eni| eni.id.clone()).collect();
        for seen in enis.into_iter().filter(|eni| !self.gone.contains_key(&eni.id)) {
            let on_the_way = self.on_the_way(&seen.id, begun);
            let trace = self.traces.entry(seen.id.clone()).or_default();
            match self.node.enis.get_mut(&seen.id) {
                Some(known) => trace.merge(known, seen, begun, &on_the_way),
                None => {
                    self.node.enis.insert(seen.id.clone(), seen);
                }
            }
        }
        let absent: Vec<_> =
            self.node.enis.keys().filter(|id| !shown.contains(id)).cloned().collect();
        for id in absent {
            let trace = self.traces.entry(id.clone()).or_default();
            if trace.is_gone(begun) {
                self.forget(&id, now);
            } else if let Some(known) = trace.doubted_until() {
                self.look.due = self.look.due.min(known);
            }
        }
        self.sure(begun);
        self.drop_idle_releases();
    }

    /// Units of an interface that a call gives back which may still take effect after a time.
    fn on_the_way(&self, id: &InterfaceId, begun: Time) -> BTreeSet<Unit> {
        let running = self.node.running.iter().any(|action| action.interface() == Some(id));
        if !running && self.unsure.get(id).is_none_or(|since| *since <= begun) {
            return BTreeSet::new();
        }
        let releases = self.node.releases.iter();
        let giving = releases.filter(|(held, release)| {
            held.interface == *id && release.state == ReleaseState::Giving
        });
        giving.filter_map(|(held, _)| held.unit).collect()
    }

    /// Interfaces that a description of that time shows as they are.
    fn sure(&mut self, begun: Time) {
        let sure: Vec<_> = self.unsure.extract_if(.., |_, since| *since <= begun).collect();
        for (id, _) in sure {
            self.node.paused.remove(&id);
        }
        if let Some(next) = self.unsure.values().min() {
            self.look.due = self.look.due.min(*next);
        }
    }

    /// An interface is not there any more.
    fn forget(&mut self, id: &InterfaceId, now: Time) {
        self.node.enis.remove(id);
        self.node.paused.remove(id);
        self.traces.remove(id);
        self.unsure.remove(id);
        self.gone.insert(id.clone(), now);
        self.node.releases.retain(|held, _| held.interface != *id);
    }

    /// What is being given back and is not there any more is given back.
    fn drop_idle_releases(&mut self) {
        let enis = &self.node.enis;
        self.node.releases.retain(|held, _| match (enis.get(&held.interface), held.unit) {
            (Some(eni), Some(unit)) => eni.units.contains(&unit),
            (Some(_), None) => true,
            (None, _) => false,
        });
    }

    fn reported(&mut self, report: &Report, now: Time) {
        self.heard = Some(report.known.clone());
        self.outdo(report.seen);
        if let Some((begun, enis)) = self.early.take() {
            self.described(begun, enis, now);
        }
        for (held, (epoch, verdict)) in &report.verdicts {
            self.answered(held, *epoch, *verdict, now);
        }
        let mut holds: Vec<_> = self.node.enis.keys().map(Held::interface).collect();
        for eni in self.node.enis.values() {
            let units = eni.allocatable(&self.node.settings).into_iter();
            holds.extend(units.map(|unit| Held::unit(&eni.id, unit)));
        }
        self.node.demand.observe(report, holds.iter(), now);
        for (held, release) in &self.node.releases {
            if release.state == ReleaseState::Refused {
                self.node.demand.refused(held, now);
            }
        }
    }

    /// A node that was told what an earlier instance of its name was to hear takes nothing older than that:
    /// it is told all anew.
    fn outdo(&mut self, seen: Epoch) {
        if seen.term == self.epoch.term && seen > self.epoch && seen.count < u32::MAX {
            self.epoch = seen;
            self.told = None;
        }
    }

    /// The node answers a proposal. What it says of an older one counts for nothing, unless it is an
    /// earlier leader's.
    fn answered(&mut self, held: &Held, epoch: Epoch, verdict: Verdict, now: Time) {
        match self.node.releases.get_mut(held) {
            Some(release) if release.epoch == epoch => release.answered(verdict),
            None if epoch.term < self.epoch.term && verdict == Verdict::Fenced => {
                self.adopt(held, now);
            }
            _ => {}
        }
    }

    /// An earlier leader had this fenced; its call may be on the way, so that it is given back.
    fn adopt(&mut self, held: &Held, now: Time) {
        self.epoch = self.epoch.next();
        let state = ReleaseState::Proposed;
        let release = Release { epoch: self.epoch, state, adopted: Some(now) };
        self.node.releases.insert(held.clone(), release);
    }
}

/// VPC and subnet of the instance's first interface.
fn home(enis: &[Eni]) -> Option<(&String, &String)> {
    let is_first = |at: &Attachment| at.card == 0 && at.index == 0;
    let first = enis.iter().find(|eni| eni.attachment.as_ref().is_some_and(is_first))?;
    (!first.vpc.is_empty()).then_some((&first.vpc, &first.subnet))
}

/// What an earlier leader's last calls changed may not be shown yet. What the node was told of is so.
fn inherited(known: &BTreeMap<InterfaceId, Interface>, enis: &mut Vec<Eni>) {
    for eni in enis.iter_mut() {
        match (known.get(&eni.id).map(Eni::from), &eni.attachment) {
            (Some(told), attachment) => {
                eni.units = told.units;
                eni.attachment = attachment.clone().or(told.attachment);
            }
            (None, Some(_)) => eni.units.clear(),
            (None, None) => {}
        }
    }
    let shown: BTreeSet<_> = enis.iter().map(|eni| eni.id.clone()).collect();
    enis.extend(known.values().filter(|told| !shown.contains(&told.id)).map(Eni::from));
}

impl Shared {
    /// So many addresses of a subnet were asked for.
    fn take(&mut self, subnet: &str, count: u32) {
        if let Some(subnet) = self.subnets.get_mut(subnet) {
            subnet.free = subnet.free.saturating_sub(count);
        }
    }
}
