//! The clock, the messages on their way, and who is there.

use super::{
    Violation,
    cloud::{Cloud, InMemory},
    operator::{SimOperator, answer, instance, limits, refused},
    pods::SimNode,
    script::{Move, Script},
};
use penstock_config::address::{InterfaceId, NodeAddresses, Report};
use penstock_eni::{Action, CallId, Effect, Eni, Event as Heard, Failure, Look, NodeKey, Time};
use std::collections::{BTreeMap, BTreeSet};

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
    Execute {
        term: u32,
        key: NodeKey,
        id: CallId,
        action: Action,
        answered: bool,
    },
    /// The operator of a term hears of something.
    Heard {
        term: u32,
        what: Box<Heard>,
    },
    Report {
        term: u32,
        instance: String,
        report: Report,
    },
    Tell {
        instance: String,
        told: NodeAddresses,
    },
    Device {
        instance: String,
        id: InterfaceId,
    },
    OperatorBegins,
    AgentBegins {
        node: usize,
    },
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
            operator: Some(SimOperator::new(1, script.seed, 0)),
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
            let node = world.launch(world.nodes.len());
            world.nodes.push(node);
        }
        world.later(0, Event::Second);
        world
    }

    fn launch(&mut self, at: usize) -> SimNode {
        self.instances += 1;
        let instance = format!("i-{}", self.instances);
        self.cloud.launch(&instance, limits());
        SimNode::new(format!("node-{at}"), instance)
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
                self.nodes[at(node)] = self.launch(at(node));
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
            Event::Execute { term, key, id, action, answered } => {
                self.execute(term, key, id, &action, answered);
            }
            Event::Heard { term, what } => self.hear(term, *what),
            Event::Report { term, instance, report } => {
                // The connection of an instance that is gone is gone with it.
                if let Some(node) = self.nodes.iter().find(|node| node.instance == instance) {
                    let name = node.name.clone();
                    self.hear(term, Heard::Reported(name, report));
                }
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
                    self.operator = Some(SimOperator::new(self.term, self.seed, self.now));
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
        let Some(term) = self.operator.as_ref().map(|operator| operator.term) else { return };
        let nodes: Vec<_> =
            self.nodes.iter().map(|n| (n.name.clone(), n.instance.clone())).collect();
        for (name, id) in &nodes {
            self.hear(term, Heard::Node(name.clone(), instance(id)));
        }
        self.hear(term, Heard::NodesKnown);
        self.hear(term, Heard::Tick);
        // A connection that was lost is made anew, and all is said again.
        for (name, instance) in nodes {
            let machine = self.operator.as_ref().and_then(|operator| operator.desk.machine(&name));
            if let Some(told) = machine.and_then(|machine| machine.told()).cloned() {
                self.later(20, Event::Tell { instance, told });
            }
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

    /// The operator of a term, if it is still there, hears of something.
    fn hear(&mut self, term: u32, what: Heard) {
        let now = self.now;
        let Some(operator) = self.operator.as_mut().filter(|operator| operator.term == term) else {
            return;
        };
        let effects = operator.desk.step(what, Time(now));
        let due = operator.desk.due().0.max(now + 1);
        let sooner = due < operator.wake || operator.wake <= now;
        if sooner {
            operator.wake = due;
        }
        for effect in effects {
            self.effect(term, effect);
        }
        if sooner {
            self.later(due - now, Event::Heard { term, what: Box::new(Heard::Tick) });
        }
    }

    fn effect(&mut self, term: u32, effect: Effect) {
        match effect {
            Effect::Call(key, id, action) => self.call(term, key, id, action),
            Effect::Look(look) => self.look(term, look),
            Effect::Delete(interface) => {
                let result = self.cloud.call("", "", &Action::Delete { interface }).map(drop);
                self.heard_later(50, term, Heard::Deleted(result));
            }
            Effect::Tell(node, told) => {
                if let Some(at) = self.nodes.iter().find(|at| at.name == node) {
                    let instance = at.instance.clone();
                    let after = self.message();
                    self.later(after, Event::Tell { instance, told });
                }
            }
            Effect::Problem(..) => {}
        }
    }

    fn heard_later(&mut self, after: u64, term: u32, what: Heard) {
        self.later(after, Event::Heard { term, what: Box::new(what) });
    }

    fn look(&mut self, term: u32, look: Look) {
        let now = self.now;
        if self.is_throttled() {
            return self.heard_later(50, term, refused(look, Time(now), throttled()));
        }
        let lag = self.random.u64(0..LAG);
        self.summary.descriptions += u32::from(matches!(look, Look::Interfaces(_)));
        let seen = |key: &NodeKey| self.seen(&key.instance, now.saturating_sub(lag));
        let what = answer(&self.cloud, look, Time(now), seen);
        let after = self.random.u64(20..2000);
        self.heard_later(after, term, what);
    }

    fn is_throttled(&mut self) -> bool {
        let is = self.throttled > 0;
        self.throttled = self.throttled.saturating_sub(1);
        is
    }

    /// An instance's interfaces, as they were at a time.
    fn seen(&self, instance: &str, at: u64) -> Vec<Eni> {
        let then = self.past.iter().find(|(until, of, _)| of == instance && *until > at);
        then.map_or_else(|| self.cloud.interfaces(instance), |(.., enis)| enis.clone())
    }

    fn call(&mut self, term: u32, key: NodeKey, id: CallId, action: Action) {
        let name = action.name();
        if self.is_throttled() {
            return self.heard_later(50, term, Heard::Called(key, id, name, Err(throttled())));
        }
        let (reaches, answered) = (self.lost_calls == 0, self.lost_answers == 0);
        self.lost_calls = self.lost_calls.saturating_sub(1);
        self.lost_answers = self.lost_answers.saturating_sub(1);
        if !(reaches && answered) {
            let result = Err(Failure::no_answer());
            self.heard_later(NO_ANSWER, term, Heard::Called(key.clone(), id, name, result));
        }
        if reaches {
            // One that is given up may take effect later all the same.
            let most = match (answered, self.random.u8(..)) {
                (true, 0..20) => NO_ANSWER - 500,
                (false, 0..100) => NO_ANSWER + 8_000,
                _ => 1000,
            };
            let after = self.random.u64(20..most);
            self.later(after, Event::Execute { term, key, id, action, answered });
        }
    }

    fn execute(&mut self, term: u32, key: NodeKey, id: CallId, action: &Action, answered: bool) {
        let instance = &key.instance;
        self.past.push((self.now, instance.clone(), self.cloud.truth(instance)));
        let token = format!("{instance}-{}-{}", id.term, id.count);
        let result = self.cloud.call(instance, &token, action);
        *self.summary.calls.entry(action.name()).or_default() += 1;
        if answered {
            let after = self.random.u64(5..400);
            self.heard_later(after, term, Heard::Called(key, id, action.name(), result));
        }
    }
}

fn throttled() -> Failure {
    Failure::of_ec2("RequestLimitExceeded", "Request limit exceeded.")
}
