//! One live instance with the policies configured inside it.

use std::sync::Arc;
use std::time::Duration;

use penstock_config::Filter;
use wasmtime::component::{InstancePre, ResourceAny};
use wasmtime::{Store, Trap};

use crate::bindings::policy::{headers, paths, tls, types};
use crate::convert::RawPlan;
use crate::error::Problem;
use crate::module::{Indices, Ready};
use crate::outcome::{FilterFailure, truncate};
use crate::selector::Exchange;
use crate::store::{Data, Owner};
use crate::ticker::Watch;

/// Problems of one configuration that are kept.
pub(crate) const MAX_PROBLEMS: usize = 32;

/// Why an instance is lost.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    /// Trap, deadline or memory.
    pub(crate) failure: FilterFailure,
    pub(crate) message: String,
}

/// Why a call brought no decision.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The policy cannot decide; its instance goes on.
    Fault(String),
    /// The instance is lost.
    Lost(Lost),
}

/// Why a policy cannot be configured.
pub(crate) enum ConfigureError {
    /// The configuration is wrong; the instance goes on.
    Problems(Vec<Problem>),
    /// The instance is lost.
    Lost(Lost),
}

/// The functions of the interface that the module exports.
pub(crate) enum Guest {
    Headers(headers::Guest),
    Paths(paths::Guest),
    Tls(tls::Guest),
}

/// A live instance.
pub(crate) struct Instance {
    store: Store<Data>,
    guest: Guest,
    /// By the policy's place in its slot.
    policies: Vec<Option<ResourceAny>>,
    /// Whether capabilities need to know whom they serve.
    has_imports: bool,
    calls: u64,
    /// Linear memory after the last configuration, in bytes.
    configured_memory: usize,
}

impl Instance {
    /// Instantiates a module.
    pub(crate) fn start(
        ready: &Ready,
        owner: Arc<Owner>,
        memory_bytes: u64,
        deadline: Duration,
        watch: &Watch,
    ) -> Result<Self, Lost> {
        let mut store = store(&ready.pre, Data::new(owner, memory_bytes), deadline);
        let instance = watch.during(|| ready.pre.instantiate(&mut store));
        let instance = instance.map_err(|error| lost(&error, &store))?;
        let guest = match &ready.indices {
            Indices::Headers(indices) => indices.load(&mut store, &instance).map(Guest::Headers),
            Indices::Paths(indices) => indices.load(&mut store, &instance).map(Guest::Paths),
            Indices::Tls(indices) => indices.load(&mut store, &instance).map(Guest::Tls),
        };
        let guest = guest.map_err(|error| lost(&error, &store))?;
        let has_imports = ready.has_imports;
        Ok(Self { store, guest, policies: Vec::new(), has_imports, calls: 0, configured_memory: 0 })
    }

    /// Makes a policy at a place.
    pub(crate) fn configure(
        &mut self,
        place: usize,
        filter: &Filter,
        owner: &Arc<Owner>,
        deadline: Duration,
        watch: &Watch,
    ) -> Result<(), ConfigureError> {
        let config = types::Config {
            json: &filter.config_json,
            filter: &filter.name,
            generation: filter.generation,
        };
        self.begin(owner, None, deadline);
        self.store.data_mut().configuring = true;
        let (store, guest) = (&mut self.store, &self.guest);
        let result = watch.during(|| match guest {
            Guest::Headers(guest) => guest.policy().call_configure(&mut *store, config),
            Guest::Paths(guest) => guest.policy().call_configure(&mut *store, config),
            Guest::Tls(guest) => guest.policy().call_configure(&mut *store, config),
        });
        self.store.data_mut().configuring = false;
        let result = result.map_err(|error| ConfigureError::Lost(lost(&error, &self.store)))?;
        let policy = result.map_err(|problems| ConfigureError::Problems(known(problems)))?;
        if let Some(misuse) = self.store.data_mut().misuse.take() {
            self.drop_resource(policy, deadline, watch).map_err(ConfigureError::Lost)?;
            return Err(ConfigureError::Problems(vec![Problem::new("", misuse)]));
        }
        if self.policies.len() <= place {
            self.policies.resize(place + 1, None);
        }
        self.policies[place] = Some(policy);
        self.configured_memory = self.memory();
        Ok(())
    }

    /// Asks the policy at a place for its plan.
    pub(crate) fn plan(
        &mut self,
        place: usize,
        owner: &Arc<Owner>,
        deadline: Duration,
        watch: &Watch,
    ) -> Result<RawPlan, CallError> {
        self.call(place, owner, None, deadline, watch, |guest, store, policy| {
            Ok(Ok(match guest {
                Guest::Headers(guest) => RawPlan::Headers(guest.policy().call_plan(store, policy)?),
                Guest::Paths(guest) => RawPlan::Paths(guest.policy().call_plan(store, policy)?),
                Guest::Tls(guest) => RawPlan::Tls(guest.policy().call_plan(store, policy)?),
            }))
        })
    }

    /// Calls the policy at a place.
    #[inline]
    pub(crate) fn call<R>(
        &mut self,
        place: usize,
        owner: &Arc<Owner>,
        exchange: Option<&dyn Exchange>,
        deadline: Duration,
        watch: &Watch,
        call: impl FnOnce(&Guest, &mut Store<Data>, ResourceAny) -> wasmtime::Result<Result<R, String>>,
    ) -> Result<R, CallError> {
        let Some(policy) = self.policies.get(place).copied().flatten() else {
            return Err(CallError::Lost(Lost {
                failure: FilterFailure::Trap,
                message: "the policy could not be configured in a new instance".to_owned(),
            }));
        };
        self.calls += 1;
        self.begin(owner, exchange, deadline);
        let (store, guest) = (&mut self.store, &self.guest);
        let result = watch.during(|| call(guest, store, policy));
        let result = result.map_err(|error| CallError::Lost(lost(&error, &self.store)))?;
        if let Some(misuse) = self.store.data_mut().misuse.take() {
            return Err(CallError::Fault(misuse));
        }
        result.map_err(CallError::Fault)
    }

    /// Ends the policy at a place.
    pub(crate) fn end(
        &mut self,
        place: usize,
        deadline: Duration,
        watch: &Watch,
    ) -> Result<(), Lost> {
        match self.policies.get_mut(place).and_then(Option::take) {
            Some(policy) => self.drop_resource(policy, deadline, watch),
            None => Ok(()),
        }
    }

    /// What the policy put on its span during the last call.
    pub(crate) fn take_notes(&mut self) -> Option<Box<crate::SpanNotes>> {
        match self.has_imports {
            true => self.store.data_mut().take_notes(),
            false => None,
        }
    }

    /// Calls since it started.
    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    /// Linear memory, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.store.data().limits.used()
    }

    /// Whether it grew beyond three quarters of its memory. One that needs that much to start with
    /// is left alone: a new one would be no smaller.
    pub(crate) fn outgrown(&self) -> bool {
        self.store.data().limits.nearly_full() && self.memory() > self.configured_memory
    }

    fn begin(&mut self, owner: &Arc<Owner>, exchange: Option<&dyn Exchange>, deadline: Duration) {
        limit(&mut self.store, deadline);
        let data = self.store.data_mut();
        data.limits.refused = false;
        if self.has_imports {
            data.attend(owner, exchange);
        }
    }

    fn drop_resource(
        &mut self,
        policy: ResourceAny,
        deadline: Duration,
        watch: &Watch,
    ) -> Result<(), Lost> {
        limit(&mut self.store, deadline);
        let dropped = watch.during(|| policy.resource_drop(&mut self.store));
        dropped.map_err(|error| lost(&error, &self.store))
    }
}

/// A store with its limits set.
pub(crate) fn store(pre: &InstancePre<Data>, data: Data, deadline: Duration) -> Store<Data> {
    let mut store = Store::new(pre.engine(), data);
    store.limiter(|data| &mut data.limits);
    store.epoch_deadline_callback(|mut context| context.data_mut().spent.look());
    limit(&mut store, deadline);
    store
}

/// Begins the time of a call.
#[inline]
pub(crate) fn limit(store: &mut Store<Data>, deadline: Duration) {
    store.data_mut().spent.begin(deadline);
    store.set_epoch_deadline(1);
}

/// What an error of the engine says about the instance.
pub(crate) fn lost(error: &wasmtime::Error, store: &Store<Data>) -> Lost {
    let failure = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => FilterFailure::Deadline,
        _ if store.data().limits.refused => FilterFailure::Memory,
        _ => FilterFailure::Trap,
    };
    let mut message = format!("{error:#}");
    truncate(&mut message, 1024);
    Lost { failure, message }
}

fn known(problems: Vec<types::Problem>) -> Vec<Problem> {
    let mut known: Vec<Problem> = problems
        .into_iter()
        .take(MAX_PROBLEMS)
        .map(|mut raw| {
            truncate(&mut raw.pointer, 256);
            truncate(&mut raw.message, 1024);
            Problem::new(raw.pointer, raw.message)
        })
        .collect();
    if known.is_empty() {
        known.push(Problem::new("", "the module refuses it without saying why"));
    }
    known
}
