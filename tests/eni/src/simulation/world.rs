//! The clock, the messages on their way, and who is there.

use super::{
    Violation,
    cloud::{Cloud, InMemory},
    operator::{SimOperator, limits},
    pods::SimNode,
    script::{Move, Script},
};
use penstock_config::address::{InterfaceId, NodeAddresses, Report};
use penstock_eni::{Action, CallId, Eni, Failure, Input, Outcome, Output, Time};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How old what a description shows may be.
const LAG: u64 = 8_000;

/// After which a call that was not answered counts so.
const NO_ANSWER: u64 = 10_000;

/// More than so many messages and calls in a second are a storm.
const STORM: u32 = 1000;

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Steps of the script.
    pub steps: usize,
    /// Calls by name that were carried out.
    pub calls: BTreeMap<&'static str, u32>,
    /// Descriptions.
    pub descriptions: u32,
}

/// Something on its way.
#[derive(Clone, Debug)]
enum Event {
    Execute { term: u32, instance: String, id: CallId, action: Action, answered: bool },
    Answer { term: u32, instance: String, id: CallId, result: Result<Outcome, Failure> },
    Described { term: u32, instance: String, begun: u64, enis: Vec<Eni> },
    Report { term: u32, instance: String, report: Report },
    Tell { instance: String, told: NodeAddresses },
    Device { instance: String, id: InterfaceId },
    OperatorBegins,
    AgentBegins { node: usize },
    Second,
}

/// All of it.
pub(super) struct World<C> {
    pub(super) now: u64,
    pub(super) step: usize,
    pub(super) cloud: C,
    pub(super) nodes: Vec<SimNode>,
    pub(super) operator: Option<SimOperator>,
    random: fastrand::Rng,
    seed: u64,
    queue: BTreeMap<(u64, u64), Event>,
    count: u64,
    /// What an instance's interfaces were until a time.
    past: Vec<(u64, String, Vec<Eni>)>,
    term: u32,
    lost_calls: u8,
    lost_answers: u8,
    throttled: u8,
    instances: u32,
    summary: Summary,
    this_second: u32,
    /// Whether each event is printed.
    told: bool,
}

/// Runs a script against the model.
///
/// # Errors
/// What must never happen and did.
pub fn run(script: &Script) -> Result<Summary, Violation> {
    run_on(script, InMemory::new())
}

/// Runs a script against something that answers as EC2 does: the steps, then a time without faults,
/// then one without pods.
///
/// # Errors
/// What must never happen and did.
pub fn run_on<C: Cloud>(script: &Script, cloud: C) -> Result<Summary, Violation> {
    let mut world = World::new(script, cloud);
    for step in &script.steps {
        world.until(world.now + u64::from(step.wait))?;
        world.does(step.does);
        world.step += 1;
        world.check()?;
    }
    world.calm();
    world.until(world.now + 120_000)?;
    world.check_quiet()?;
    for node in &mut world.nodes {
        node.stop_all(world.now);
    }
    world.until(world.now + 700_000)?;
    world.check_end()?;
    world.summary.steps = script.steps.len();
    Ok(world.summary)
}

impl<C: Cloud> World<C> {
    fn new(script: &Script, cloud: C) -> Self {
        let mut world = Self {
            now: 100_000,
            step: 0,
            cloud,
            nodes: Vec::new(),
            operator: Some(SimOperator::new(1, 0)),
            random: fastrand::Rng::with_seed(script.seed),
            seed: script.seed,
            queue: BTreeMap::new(),
            count: 0,
            past: Vec::new(),
            term: 1,
            lost_calls: 0,
            lost_answers: 0,
            throttled: 0,
            instances: 0,
            summary: Summary::default(),
            this_second: 0,
            told: std::env::var_os("PENSTOCK_ENI_TRACE").is_some(),
        };
        for _ in 0..script.nodes.max(1) {
            let node = world.launch();
            world.nodes.push(node);
        }
        world.later(0, Event::Second);
        world
    }

    fn launch(&mut self) -> SimNode {
        self.instances += 1;
        let instance = format!("i-{}", self.instances);
        self.cloud.launch(&instance, limits());
        SimNode::new(instance)
    }

    fn later(&mut self, after: u64, event: Event) {
        self.count += 1;
        self.queue.insert((self.now + after, self.count), event);
    }

    /// Lets time go by.
    fn until(&mut self, time: u64) -> Result<(), Violation> {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > time {
                break;
            }
            self.now = entry.key().0;
            let event = entry.remove();
            self.this_second =
                if matches!(event, Event::Second) { 0 } else { self.this_second + 1 };
            if self.this_second > STORM {
                return Err(self.violation("nobody talks without end", format!("{event:?}")));
            }
            self.happens(event);
            self.check()?;
        }
        self.now = time;
        Ok(())
    }

    fn does(&mut self, what: Move) {
        let (now, count) = (self.now, self.nodes.len());
        let at = |node: u8| usize::from(node) % count;
        match what {
            Move::Start(node) => self.nodes[at(node)].start(now),
            Move::Burst(node, count) => {
                (0..count).for_each(|_| self.nodes[at(node)].start(now));
            }
            Move::Stop(node, nth) => self.nodes[at(node)].stop(usize::from(nth), now),
            Move::StopAll(node) => self.nodes[at(node)].stop_all(now),
            Move::OperatorEnds(secs) => {
                if self.operator.take().is_some() {
                    self.later(u64::from(secs) * 1000, Event::OperatorBegins);
                }
            }
            Move::AgentEnds(node, secs) => {
                self.nodes[at(node)].pool = None;
                self.later(u64::from(secs) * 1000, Event::AgentBegins { node: at(node) });
            }
            Move::AgentEndsInAdd(node) => {
                self.nodes[at(node)].end_in_add(now);
                self.later(500, Event::AgentBegins { node: at(node) });
            }
            Move::CallsLost(count) => self.lost_calls = count,
            Move::AnswersLost(count) => self.lost_answers = count,
            Move::Throttled(count) => self.throttled = count,
            Move::Silence(node, secs) => {
                self.nodes[at(node)].silent_until = now + u64::from(secs) * 1000;
            }
            Move::Taken(count) => self.cloud.take(u32::from(count)),
            Move::GivenBack => self.cloud.give_back(),
            Move::Replaced(node) => {
                let old = self.nodes[at(node)].instance.clone();
                self.cloud.terminate(&old);
                self.nodes[at(node)] = self.launch();
            }
        }
        // A pod's need is said at once.
        if let Move::Start(node)
        | Move::Burst(node, _)
        | Move::Stop(node, _)
        | Move::StopAll(node) = what
        {
            self.report(at(node));
        }
    }

    /// No more faults, everybody is there.
    fn calm(&mut self) {
        (self.lost_calls, self.lost_answers, self.throttled) = (0, 0, 0);
        self.cloud.give_back();
        for node in &mut self.nodes {
            node.silent_until = 0;
        }
    }

    fn happens(&mut self, event: Event) {
        if self.told {
            eprintln!("{} {event:?}", self.now);
        }
        match event {
            Event::Second => self.second(),
            Event::Execute { term, instance, id, action, answered } => {
                self.execute(term, instance, id, &action, answered);
            }
            Event::Answer { term, instance, id, result } => {
                self.input(term, &instance, Input::Done(id, result));
            }
            Event::Described { term, instance, begun, enis } => {
                self.input(term, &instance, Input::Described { begun: Time(begun), enis });
            }
            Event::Report { term, instance, report } => {
                self.input(term, &instance, Input::Reported(report));
            }
            Event::Tell { instance, told } => {
                if let Some(node) = self.nodes.iter_mut().find(|n| n.instance == instance)
                    && node.silent_until <= self.now
                {
                    node.told(told);
                    let at = self.nodes.iter().position(|n| n.instance == instance);
                    at.into_iter().for_each(|at| self.report(at));
                }
            }
            Event::Device { instance, id } => {
                let attached = self.attached(&instance);
                if let Some(node) = self.nodes.iter_mut().find(|n| n.instance == instance)
                    && attached.contains(&id)
                {
                    node.device(id);
                }
            }
            Event::OperatorBegins => {
                if self.operator.is_none() {
                    self.term += 1;
                    self.operator = Some(SimOperator::new(self.term, self.now));
                }
            }
            Event::AgentBegins { node } => {
                if self.nodes[node].pool.is_none() {
                    self.nodes[node].begin();
                }
            }
        }
    }

    fn attached(&self, instance: &str) -> BTreeSet<InterfaceId> {
        let here = self.cloud.truth(instance).into_iter();
        here.filter(|eni| eni.attachment.is_some()).map(|eni| eni.id).collect()
    }

    /// What happens each second.
    fn second(&mut self) {
        self.later(1000, Event::Second);
        self.past.retain(|(until, ..)| until + LAG > self.now);
        for at in 0..self.nodes.len() {
            let attached = self.attached(&self.nodes[at].instance);
            for id in attached.difference(&self.nodes[at].devices.clone()) {
                let event =
                    Event::Device { instance: self.nodes[at].instance.clone(), id: id.clone() };
                let after = self.random.u64(0..3000);
                self.later(after, event);
            }
            self.nodes[at].only(&attached);
            self.nodes[at].ask_again(self.now);
            self.report(at);
        }
        let instances: Vec<_> = self.nodes.iter().map(|node| node.instance.clone()).collect();
        let Some(operator) = &mut self.operator else { return };
        operator.nodes(&instances, self.seed, self.now);
        if (self.now / 1000).is_multiple_of(30) {
            self.collect(&instances);
        }
        // Now and then the shared view of the VPC is made anew; what calls found out stays.
        let Some(operator) = &mut self.operator else { return };
        let subnets = (self.now / 1000).is_multiple_of(10) || operator.shared.subnets.is_empty();
        for (id, seen) in subnets.then(|| self.cloud.subnets()).into_iter().flatten() {
            let known = operator.shared.subnets.entry(id).or_insert_with(|| seen.clone());
            known.free = seen.free;
        }
        let term = operator.term;
        for instance in instances {
            self.input(term, &instance, Input::Tick);
        }
    }

    fn collect(&mut self, instances: &[String]) {
        let Some(operator) = &mut self.operator else { return };
        let nodes = instances.iter().cloned().collect();
        let grace = Duration::from_secs(60);
        let leaked = operator.leaks.observe(&self.cloud.loose(), &nodes, grace, Time(self.now));
        for interface in leaked {
            let _ = self.cloud.call("", "", &Action::Delete { interface });
        }
    }

    /// A node says what it needs; what is said twice or late is no other thing.
    fn report(&mut self, at: usize) {
        let (Some(operator), Some(pool)) = (&self.operator, &self.nodes[at].pool) else { return };
        let event = Event::Report {
            term: operator.term,
            instance: self.nodes[at].instance.clone(),
            report: pool.report(),
        };
        if self.nodes[at].silent_until > self.now {
            return;
        }
        if self.random.u8(..) < 30 {
            let late = self.random.u64(0..8000);
            self.later(late, event.clone());
        }
        let after = self.message();
        self.later(after, event);
    }

    /// How long a message takes: mostly no time.
    fn message(&mut self) -> u64 {
        if self.random.u8(..) < 40 { self.random.u64(1..4000) } else { self.random.u64(1..50) }
    }

    fn input(&mut self, term: u32, instance: &str, input: Input) {
        let now = self.now;
        let Some(operator) = self.operator.as_mut().filter(|operator| operator.term == term) else {
            return;
        };
        let Some(machine) = operator.machines.get_mut(instance) else { return };
        let again = matches!(input, Input::Tick).then(|| machine.told().cloned()).flatten();
        let outputs = machine.step(input, &mut operator.shared, Time(now));
        for output in outputs {
            self.output(term, instance, output);
        }
        // A connection that was lost is made anew, and all is said again.
        if let Some(told) = again {
            self.later(20, Event::Tell { instance: instance.to_owned(), told });
        }
    }

    fn output(&mut self, term: u32, instance: &str, output: Output) {
        let instance = instance.to_owned();
        match output {
            Output::Call(id, action) => self.call(term, instance, id, action),
            Output::Describe => {
                let lag = self.random.u64(0..LAG);
                let seen = self.seen(&instance, self.now.saturating_sub(lag));
                self.summary.descriptions += 1;
                let after = self.random.u64(20..2000);
                self.later(after, Event::Described { term, instance, begun: self.now, enis: seen });
            }
            Output::Tell(told) => {
                let after = self.message();
                self.later(after, Event::Tell { instance, told });
            }
            Output::Problem(_) => {}
        }
    }

    /// An instance's interfaces, as they were at a time.
    fn seen(&self, instance: &str, at: u64) -> Vec<Eni> {
        let then = self.past.iter().find(|(until, of, _)| of == instance && *until > at);
        then.map_or_else(|| self.cloud.interfaces(instance), |(.., enis)| enis.clone())
    }

    fn call(&mut self, term: u32, instance: String, id: CallId, action: Action) {
        if self.throttled > 0 {
            self.throttled -= 1;
            let result = Err(Failure::of_ec2("RequestLimitExceeded", "Request limit exceeded."));
            self.later(50, Event::Answer { term, instance, id, result });
            return;
        }
        let (reaches, answered) = (self.lost_calls == 0, self.lost_answers == 0);
        self.lost_calls = self.lost_calls.saturating_sub(1);
        self.lost_answers = self.lost_answers.saturating_sub(1);
        if !(reaches && answered) {
            let result = Err(Failure::no_answer());
            let event = Event::Answer { term, instance: instance.clone(), id, result };
            self.later(NO_ANSWER, event);
        }
        if reaches {
            // One that is given up may take effect later all the same.
            let most = match (answered, self.random.u8(..)) {
                (true, 0..20) => NO_ANSWER - 500,
                (false, 0..100) => NO_ANSWER + 8_000,
                _ => 1000,
            };
            let after = self.random.u64(20..most);
            self.later(after, Event::Execute { term, instance, id, action, answered });
        }
    }

    fn execute(
        &mut self,
        term: u32,
        instance: String,
        id: CallId,
        action: &Action,
        answered: bool,
    ) {
        self.past.push((self.now, instance.clone(), self.cloud.truth(&instance)));
        let token = format!("{instance}-{}-{}", id.term, id.count);
        let result = self.cloud.call(&instance, &token, action);
        *self.summary.calls.entry(action.name()).or_default() += 1;
        if answered {
            let after = self.random.u64(5..400);
            self.later(after, Event::Answer { term, instance, id, result });
        }
    }
}
