//! One proxy thread's policies. No lock and no await on the way of a request.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use penstock_config::{Filter, PolicyKind, Version};
use wasmtime::Store;
use wasmtime::component::ResourceAny;

use crate::breaker::Breaker;
use crate::convert;
use crate::error::PrepareError;
use crate::host::{Host, configure_error};
use crate::inputs::{InputRefs, Inputs};
use crate::instance::Guest;
use crate::memo::Memo;
use crate::outcome::{FilterFailure, Outcome, Tier, Verdict};
use crate::plan::Plan;
use crate::selector::Exchange;
use crate::slot::{Entry, Env, Slot, StepError};
use crate::steps::{Decide, OnRequest, OnResponse, Step, other_kind};
use crate::store::{Data, Owner};
use crate::ticker::Watch;
use crate::tls::{ClientHello, HelloDecision, PeerCertificate, PeerDecision};
use crate::{HeaderDecision, PathDecision};

/// One proxy thread's live instances. Not `Send`: it stays on its thread.
pub struct Worker {
    host: Host,
    watch: Watch,
    slots: Vec<Option<Slot>>,
    random: u64,
    _thread: PhantomData<Rc<()>>,
}

/// A configured policy of one [`Worker`]. Give it back with [`Worker::release`].
pub struct Policy {
    /// What it declared.
    pub plan: Arc<Plan>,
    slot: usize,
    place: usize,
    _thread: PhantomData<Rc<()>>,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").field("filter", &self.plan.filter).finish_non_exhaustive()
    }
}

impl Worker {
    /// A worker without policies.
    pub fn new(host: &Host) -> Self {
        Self {
            host: host.clone(),
            watch: host.watch(),
            slots: Vec::new(),
            random: ahash::RandomState::new().hash_one(0u8) | 1,
            _thread: PhantomData,
        }
    }

    /// Makes a policy ready to be called: instantiates and configures it, live and spare. The same
    /// filter and version twice is the same live policy. Takes the time of `configure`: call it
    /// before the swap that uses the policy.
    ///
    /// # Errors
    /// As [`Host::check`], whose verdict a deterministic module repeats. Policies that are in use
    /// go on, whatever happens.
    pub fn prepare(&mut self, filter: &Filter, version: Version) -> Result<Policy, PrepareError> {
        let (key, ready) = self.host.resolve(filter)?;
        let known = self.slots.iter().position(|slot| slot.as_ref().is_some_and(|s| s.key == key));
        let index = known.unwrap_or_else(|| self.vacancy());
        let random = self.next_random();
        let slot = self.slots[index].get_or_insert_with(|| Slot::new(key, ready));
        if let Some(place) = slot.find(&filter.name, version)
            && let Some(Some(entry)) = slot.entries.get_mut(place)
        {
            entry.uses += 1;
            return Ok(policy(entry, index, place));
        }

        let name: Arc<str> = filter.name.as_str().into();
        let (cells, series) = self.host.registry().register(&name);
        let owner = Owner::new(Arc::clone(&name), Arc::clone(&cells), series);
        let place = slot.vacancy();
        let env = env(&self.host, &self.watch, random);
        let plan = slot
            .configure(place, filter, &owner, &env)
            .map_err(|error| configure_error("configure", error))
            .and_then(|raw| convert::plan(filter, raw).map_err(PrepareError::InvalidPlan));
        let plan = match plan {
            Ok(plan) => Arc::new(plan),
            Err(error) => {
                slot.end(place, &env);
                if slot.is_empty() {
                    self.slots[index] = None;
                }
                self.host.registry().retire(&name, &cells);
                return Err(error);
            }
        };
        let entry = entry(filter, version, plan, owner, self.host.breaker(&name, version));
        let handle = policy(&entry, index, place);
        slot.admit(place, entry);
        Ok(handle)
    }

    /// Gives a policy back. The last handle of a filter's version ends it; the last policy of a
    /// slot ends its instances.
    pub fn release(&mut self, policy: Policy) {
        let random = self.next_random();
        let Some(Some(slot)) = self.slots.get_mut(policy.slot) else { return };
        let Some(Some(entry)) = slot.entries.get_mut(policy.place) else { return };
        entry.uses -= 1;
        if entry.uses > 0 {
            return;
        }
        let ended = slot.end(policy.place, &env(&self.host, &self.watch, random));
        if let Some(entry) = ended {
            self.host.registry().retire(&entry.owner.filter, &entry.owner.cells);
        }
        if slot.is_empty() {
            self.slots[policy.slot] = None;
        }
    }

    /// Builds the spare instances that are missing, at most one for each slot. Call it when no
    /// request waits, soon after a step failed; where nobody does, the next replacement of an
    /// instance takes as long as building one. Returns how many were built.
    pub fn maintain(&mut self) -> usize {
        let random = self.next_random();
        let env = env(&self.host, &self.watch, random);
        let built = self.slots.iter_mut().flatten().map(|slot| usize::from(slot.upkeep(&env)));
        built.sum()
    }

    /// Decides on a request, for a header policy.
    pub fn on_request(&mut self, p: &Policy, x: &dyn Exchange) -> Outcome<HeaderDecision> {
        self.step::<OnRequest>(p, x)
    }

    /// Decides on a response, for a header policy.
    pub fn on_response(&mut self, p: &Policy, x: &dyn Exchange) -> Outcome<HeaderDecision> {
        self.step::<OnResponse>(p, x)
    }

    /// Decides on the request's target, for a path policy.
    pub fn decide_path(&mut self, p: &Policy, x: &dyn Exchange) -> Outcome<PathDecision> {
        self.step::<Decide>(p, x)
    }

    /// Decides on a ClientHello, for a TLS policy.
    pub fn on_client_hello(&mut self, p: &Policy, h: &ClientHello) -> Outcome<HelloDecision> {
        if !p.plan.tls.is_some_and(|tls| tls.client_hello) {
            return self.no_call(p, HelloDecision::Default);
        }
        let call = |guest: &Guest, store: &mut _, policy| match guest {
            Guest::Tls(guest) => {
                convert::hello(h, |raw| guest.policy().call_on_client_hello(store, policy, raw))
            }
            _ => other_kind(),
        };
        self.tls(p, call, convert::hello_decision)
    }

    /// Decides on the client's certificate, for a TLS policy; `None` when the client sent none.
    pub fn on_client_certificate(
        &mut self,
        p: &Policy,
        h: &ClientHello,
        peer: Option<&PeerCertificate>,
    ) -> Outcome<PeerDecision> {
        let Some(tls) = p.plan.tls.filter(|tls| tls.client_certificate) else {
            return self.no_call(p, PeerDecision::Accept(Vec::new()));
        };
        let call = |guest: &Guest, store: &mut _, policy| match guest {
            Guest::Tls(guest) => convert::hello(h, |raw| {
                convert::peer(peer, tls.want_der, |peer| {
                    guest.policy().call_on_client_certificate(store, policy, raw, peer)
                })
            }),
            _ => other_kind(),
        };
        self.tls(p, call, convert::peer_decision)
    }

    /// What a decision means that the proxy cannot carry out: a prefix edit where the rule has no
    /// prefix, a backend that the rule does not have. Counts as a fault of the policy.
    pub fn fault<T>(&mut self, p: &Policy, message: &str) -> Outcome<T> {
        let error = StepError { failure: FilterFailure::Fault, message: message.to_owned() };
        match entry_of(&mut self.slots, p) {
            Some(entry) => failed(entry, &p.plan, error, Tier::Call),
            None => foreign(),
        }
    }

    #[inline]
    fn step<S: Step>(&mut self, p: &Policy, x: &dyn Exchange) -> Outcome<S::Decision> {
        let Some(Some(slot)) = self.slots.get_mut(p.slot) else { return foreign() };
        let Some(entry) = slot.entry_mut(p.place) else { return foreign() };
        let Some(stage) = S::stage(&p.plan).filter(|stage| stage.applies(x)) else {
            entry.owner.cells.step(Tier::GuardMiss);
            return Outcome::decided(S::next(), Tier::GuardMiss);
        };
        if let Some(edits) = &stage.constant {
            entry.owner.cells.step(Tier::Constant);
            return Outcome::decided(S::constant(edits), Tier::Constant);
        }
        let mut read = Inputs::default();
        if let Err(selector) = read.read(&stage.inputs, x, p.plan.opaque_values) {
            let message = format!("{selector} is not UTF-8");
            let error = StepError { failure: FilterFailure::Opaque, message };
            return failed(entry, &p.plan, error, Tier::Call);
        }
        let mut inputs = InputRefs::new();
        read.lend(&mut inputs);
        if let Some(memo) = S::memo(entry)
            && let Some(decision) = memo.get(&inputs)
        {
            entry.owner.cells.step(Tier::Memo);
            return Outcome::decided(decision, Tier::Memo);
        }
        self.random = xorshift(self.random);
        let env = env(&self.host, &self.watch, self.random);
        let (raw, span) = slot.call(p.place, Some(x), &env, |guest, store, policy| {
            S::call(guest, store, policy, &inputs)
        });
        let Some(entry) = slot.entry_mut(p.place) else { return foreign() };
        let decision = raw.and_then(|raw| S::decide(raw, stage).map_err(StepError::from));
        let mut outcome = match decision {
            Ok(decision) => {
                if let Some(memo) = S::memo(entry) {
                    memo.insert(&inputs, &decision);
                }
                entry.owner.cells.step(Tier::Call);
                Outcome::decided(decision, Tier::Call)
            }
            Err(error) => failed(entry, &p.plan, error, Tier::Call),
        };
        outcome.span = span;
        outcome
    }

    fn tls<R, D>(
        &mut self,
        p: &Policy,
        call: impl FnOnce(&Guest, &mut Store<Data>, ResourceAny) -> wasmtime::Result<Result<R, String>>,
        decide: fn(R) -> Result<D, convert::Refusal>,
    ) -> Outcome<D> {
        self.random = xorshift(self.random);
        let env = env(&self.host, &self.watch, self.random);
        let Some(Some(slot)) = self.slots.get_mut(p.slot) else { return foreign() };
        let (raw, span) = slot.call(p.place, None, &env, call);
        let Some(entry) = slot.entry_mut(p.place) else { return foreign() };
        let mut outcome = match raw.and_then(|raw| decide(raw).map_err(StepError::from)) {
            Ok(decision) => {
                entry.owner.cells.step(Tier::Call);
                Outcome::decided(decision, Tier::Call)
            }
            Err(error) => failed(entry, &p.plan, error, Tier::Call),
        };
        outcome.span = span;
        outcome
    }

    /// A step in which the policy takes no part.
    fn no_call<D>(&mut self, p: &Policy, decision: D) -> Outcome<D> {
        let Some(entry) = entry_of(&mut self.slots, p) else { return foreign() };
        entry.owner.cells.step(Tier::GuardMiss);
        Outcome::decided(decision, Tier::GuardMiss)
    }

    fn vacancy(&mut self) -> usize {
        let free = self.slots.iter().position(Option::is_none);
        free.unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        })
    }

    fn next_random(&mut self) -> u64 {
        self.random = xorshift(self.random);
        self.random
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let entries = self.slots.iter_mut().flatten().flat_map(|slot| slot.entries.drain(..));
        for entry in entries.flatten() {
            self.host.registry().retire(&entry.owner.filter, &entry.owner.cells);
        }
    }
}

impl From<convert::Refusal> for StepError {
    fn from(refusal: convert::Refusal) -> Self {
        Self { failure: refusal.failure, message: refusal.message }
    }
}

fn env<'a>(host: &Host, watch: &'a Watch, random: u64) -> Env<'a> {
    Env { watch, configure_deadline: host.config().configure_deadline, random }
}

fn entry_of<'a>(slots: &'a mut [Option<Slot>], p: &Policy) -> Option<&'a mut Entry> {
    slots.get_mut(p.slot)?.as_mut()?.entry_mut(p.place)
}

fn policy(entry: &Entry, slot: usize, place: usize) -> Policy {
    Policy { plan: Arc::clone(&entry.plan), slot, place, _thread: PhantomData }
}

fn entry(
    filter: &Filter,
    version: Version,
    plan: Arc<Plan>,
    owner: Arc<Owner>,
    breaker: Arc<Breaker>,
) -> Entry {
    let request = plan.request.as_ref().and_then(|stage| stage.memo);
    let response = plan.response.as_ref().and_then(|stage| stage.memo);
    let headers = plan.kind == PolicyKind::Headers;
    Entry {
        filter: filter.clone(),
        version,
        uses: 1,
        request: request.filter(|_| headers).map(Memo::new),
        response: response.map(Memo::new),
        path: request.filter(|_| !headers).map(Memo::new),
        plan,
        owner,
        breaker,
    }
}

/// Counts a failed step and says what it means for the request.
#[cold]
fn failed<T>(entry: &Entry, plan: &Plan, error: StepError, tier: Tier) -> Outcome<T> {
    entry.owner.cells.failure(error.failure);
    entry.owner.cells.step(tier);
    Outcome::failed(Verdict::of_failure(error.failure, plan.on_failure), tier, error.message)
}

/// A handle of another worker: an error of the caller, answered as a lost instance.
#[cold]
fn foreign<T>() -> Outcome<T> {
    let failure = FilterFailure::Trap;
    let verdict = Verdict::Failed { status: failure.status(), failure };
    Outcome::failed(verdict, Tier::Call, "the policy is not of this worker")
}

/// The next of a sequence of well spread numbers; it decides nothing but when an instance retires.
fn xorshift(mut x: u64) -> u64 {
    x ^= x << 13;
    x ^= x >> 7;
    x ^ (x << 17)
}
