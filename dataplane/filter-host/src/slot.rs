//! One worker's instances of one (module, namespace, grants, limits), with the policies they serve:
//! one live instance that all of them share, and a configured spare.

use std::sync::Arc;
use std::time::{Duration, Instant};

use penstock_config::{Filter, Version};
use wasmtime::Store;
use wasmtime::component::ResourceAny;

use crate::breaker::{Admission, Breaker};
use crate::decision::{HeaderDecision, PathDecision};
use crate::grants::Grants;
use crate::instance::{CallError, ConfigureError, Guest, Instance, Lost};
use crate::memo::Memo;
use crate::module::Ready;
use crate::outcome::{FilterFailure, SpanNotes};
use crate::plan::Plan;
use crate::selector::Exchange;
use crate::store::{Data, Owner};
use crate::ticker::Watch;

/// What instances may be shared by: never across namespaces, never across other grants or limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlotKey {
    pub(crate) digest: String,
    pub(crate) namespace: String,
    pub(crate) grants: Grants,
    pub(crate) memory_bytes: u64,
    pub(crate) deadline_us: u64,
    pub(crate) max_invocations: u64,
}

/// What a slot needs of its worker.
pub(crate) struct Env<'a> {
    pub(crate) watch: &'a Watch,
    pub(crate) configure_deadline: Duration,
    /// Random bits, for the age at which an instance is replaced.
    pub(crate) random: u64,
}

/// One policy of a slot.
pub(crate) struct Entry {
    pub(crate) filter: Filter,
    pub(crate) version: Version,
    /// Handles given out.
    pub(crate) uses: u32,
    pub(crate) plan: Arc<Plan>,
    pub(crate) owner: Arc<Owner>,
    pub(crate) breaker: Arc<Breaker>,
    pub(crate) request: Option<Memo<HeaderDecision>>,
    pub(crate) response: Option<Memo<HeaderDecision>>,
    pub(crate) path: Option<Memo<PathDecision>>,
}

/// The instances and their policies.
pub(crate) struct Slot {
    pub(crate) key: SlotKey,
    ready: Arc<Ready>,
    deadline: Duration,
    live: Option<Instance>,
    spare: Option<Instance>,
    /// Calls after which the live instance is replaced.
    retire_at: u64,
    pub(crate) entries: Vec<Option<Entry>>,
    reported_memory: usize,
}

/// Why a step brought no decision.
pub(crate) struct StepError {
    pub(crate) failure: FilterFailure,
    pub(crate) message: String,
}

impl Slot {
    pub(crate) fn new(key: SlotKey, ready: Arc<Ready>) -> Self {
        let deadline = Duration::from_micros(key.deadline_us);
        let retire_at = key.max_invocations;
        Self {
            key,
            ready,
            deadline,
            live: None,
            spare: None,
            retire_at,
            entries: Vec::new(),
            reported_memory: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.iter().all(Option::is_none)
    }

    /// Place of a policy that is prepared already.
    pub(crate) fn find(&self, filter: &str, version: Version) -> Option<usize> {
        self.entries.iter().position(|entry| {
            entry.as_ref().is_some_and(|e| e.filter.name == filter && e.version == version)
        })
    }

    /// A place for a new policy.
    pub(crate) fn vacancy(&self) -> usize {
        let free = self.entries.iter().position(Option::is_none);
        free.unwrap_or(self.entries.len())
    }

    pub(crate) fn entry_mut(&mut self, place: usize) -> Option<&mut Entry> {
        self.entries.get_mut(place)?.as_mut()
    }

    /// Puts a configured policy at its place.
    pub(crate) fn admit(&mut self, place: usize, entry: Entry) {
        if self.entries.len() <= place {
            self.entries.resize_with(place + 1, || None);
        }
        self.entries[place] = Some(entry);
        self.report();
    }

    /// Configures a new policy, in the spare first: where it traps there, the live instance and
    /// whom it serves never notice.
    pub(crate) fn configure(
        &mut self,
        place: usize,
        filter: &Filter,
        owner: &Arc<Owner>,
        env: &Env<'_>,
    ) -> Result<crate::convert::RawPlan, ConfigureError> {
        let deadline = env.configure_deadline;
        let mut spare = match self.spare.take() {
            Some(spare) => spare,
            None => self.build(owner, env).map_err(ConfigureError::Lost)?,
        };
        match spare.configure(place, filter, owner, deadline, env.watch) {
            Ok(()) => {}
            Err(ConfigureError::Problems(problems)) => {
                self.spare = Some(spare);
                return Err(ConfigureError::Problems(problems));
            }
            Err(lost) => return Err(lost),
        }
        let plan = spare.plan(place, owner, deadline, env.watch);
        let plan = plan.map_err(|error| ConfigureError::Lost(error.into_lost()))?;
        let live = match self.live.take() {
            Some(live) => Ok(live),
            None => self.build(owner, env),
        };
        let configured = live.map_err(ConfigureError::Lost).and_then(|mut live| {
            live.configure(place, filter, owner, deadline, env.watch)?;
            Ok(live)
        });
        match configured {
            Ok(live) => (self.live, self.spare) = (Some(live), Some(spare)),
            // It worked a moment ago: the spare serves, the next upkeep builds another.
            Err(_) => self.live = Some(spare),
        }
        self.report();
        Ok(plan)
    }

    /// Ends a policy in both instances.
    pub(crate) fn end(&mut self, place: usize, env: &Env<'_>) -> Option<Entry> {
        let entry = self.entries.get_mut(place).and_then(Option::take);
        for instance in [&mut self.live, &mut self.spare] {
            let ended = instance.as_mut().map(|i| i.end(place, env.configure_deadline, env.watch));
            if matches!(ended, Some(Err(_))) {
                *instance = None;
            }
        }
        self.report();
        entry
    }

    /// Builds the spare where there is none. Returns whether it did.
    pub(crate) fn upkeep(&mut self, env: &Env<'_>) -> bool {
        if self.spare.is_some() || self.is_empty() {
            return false;
        }
        let owner = self.entries.iter().flatten().next().map(|entry| Arc::clone(&entry.owner));
        let Some(owner) = owner else { return false };
        match self.build(&owner, env) {
            Ok(spare) => self.spare = Some(spare),
            Err(lost) => {
                tracing::warn!(digest = self.key.digest, "no spare instance: {}", lost.message);
            }
        }
        self.report();
        self.spare.is_some()
    }

    /// Calls a policy once, with all that belongs to it: quarantine, replacement, counts.
    pub(crate) fn call<R>(
        &mut self,
        place: usize,
        exchange: Option<&dyn Exchange>,
        env: &Env<'_>,
        call: impl FnOnce(&Guest, &mut Store<Data>, ResourceAny) -> wasmtime::Result<Result<R, String>>,
    ) -> (Result<R, StepError>, Option<Box<SpanNotes>>) {
        let Some(entry) = self.entries.get(place).and_then(Option::as_ref) else {
            return (Err(StepError::trap("the policy is gone".to_owned())), None);
        };
        let owner = Arc::clone(&entry.owner);
        let admission = entry.breaker.admit();
        if admission == Admission::Refused {
            let message = "the filter failed too often and rests".to_owned();
            return (Err(StepError { failure: FilterFailure::Quarantined, message }), None);
        }
        if self.live.is_none() {
            self.replace(&owner, env);
        }
        let Some(live) = &mut self.live else {
            return (
                Err(self.lost(place, admission, StepError::trap("no instance".to_owned()))),
                None,
            );
        };
        let begun = Instant::now();
        let result = live.call(place, &owner, exchange, self.deadline, env.watch, call);
        let ended = Instant::now();
        owner.cells.call(ended.duration_since(begun));
        let notes = live.take_notes();
        let error = match result {
            Ok(decision) => {
                self.kept(place, admission, &owner, ended, env);
                return (Ok(decision), notes);
            }
            Err(error) => error,
        };
        let error = match error {
            CallError::Fault(message) => {
                self.kept(place, admission, &owner, ended, env);
                StepError { failure: FilterFailure::Fault, message }
            }
            CallError::Lost(lost) => {
                self.live = self.spare.take();
                self.retire_at = self.next_age(env);
                self.report();
                let Lost { failure, message } = lost;
                self.lost(place, admission, StepError { failure, message })
            }
        };
        (Err(error), notes)
    }

    /// After a call that kept its instance.
    #[inline]
    fn kept(
        &mut self,
        place: usize,
        admission: Admission,
        owner: &Arc<Owner>,
        now: Instant,
        env: &Env<'_>,
    ) {
        if admission == Admission::Probe
            && let Some(Some(entry)) = self.entries.get(place)
        {
            entry.breaker.succeeded(admission, now);
            tracing::info!(filter = %owner.filter, "filter has recovered");
        }
        let Some(live) = &self.live else { return };
        if live.calls() >= self.retire_at || live.outgrown() {
            owner.cells.recycled();
            self.replace(owner, env);
        } else if live.memory() != self.reported_memory {
            self.report();
        }
    }

    /// After a call that lost its instance.
    fn lost(&self, place: usize, admission: Admission, error: StepError) -> StepError {
        if let Some(Some(entry)) = self.entries.get(place)
            && entry.breaker.failed(admission, Instant::now())
        {
            tracing::warn!(
                filter = %entry.owner.filter,
                reason = error.failure.as_reason(),
                "filter is quarantined: {}",
                error.message
            );
        }
        error
    }

    /// Puts the spare, or a new instance, in the live one's place.
    fn replace(&mut self, owner: &Arc<Owner>, env: &Env<'_>) {
        self.live = match self.spare.take() {
            Some(spare) => Some(spare),
            None => self.build(owner, env).ok(),
        };
        self.retire_at = self.next_age(env);
        self.report();
    }

    /// Up to an eighth less than the limit, so that workers do not replace theirs all at once.
    fn next_age(&self, env: &Env<'_>) -> u64 {
        let limit = self.key.max_invocations;
        limit - env.random % (limit / 8 + 1)
    }

    /// A new instance with every policy of the slot. One that cannot be configured again is left
    /// out: it alone fails.
    fn build(&self, owner: &Arc<Owner>, env: &Env<'_>) -> Result<Instance, Lost> {
        let deadline = env.configure_deadline;
        let start = || {
            let memory = self.key.memory_bytes;
            Instance::start(&self.ready, Arc::clone(owner), memory, deadline, env.watch)
        };
        let mut broken = vec![false; self.entries.len()];
        'build: loop {
            let mut instance = start()?;
            for (place, entry) in self.entries.iter().enumerate() {
                let Some(entry) = entry.as_ref().filter(|_| !broken[place]) else { continue };
                let result =
                    instance.configure(place, &entry.filter, &entry.owner, deadline, env.watch);
                let Err(error) = result else { continue };
                broken[place] = true;
                tracing::warn!(filter = %entry.owner.filter, "cannot be configured again");
                if matches!(error, ConfigureError::Lost(_)) {
                    continue 'build;
                }
            }
            return Ok(instance);
        }
    }

    /// Brings the gauges of the slot's filters up to date.
    fn report(&mut self) {
        let instances = [&self.live, &self.spare].into_iter().flatten();
        let (count, memory) = instances.fold((0, 0), |(n, sum), i| (n + 1, sum + i.memory()));
        for entry in self.entries.iter().flatten() {
            entry.owner.cells.hold(count, memory as u64);
        }
        self.reported_memory = self.live.as_ref().map_or(0, Instance::memory);
    }
}

impl StepError {
    fn trap(message: String) -> Self {
        Self { failure: FilterFailure::Trap, message }
    }
}

impl CallError {
    fn into_lost(self) -> Lost {
        match self {
            CallError::Lost(lost) => lost,
            CallError::Fault(message) => Lost { failure: FilterFailure::Fault, message },
        }
    }
}
