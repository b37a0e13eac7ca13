//! The process's policy host: modules by digest, what workers share.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use penstock_config::{Filter, PolicyKind, Version};
use wasmtime::Engine;

use crate::breaker::Breaker;
use crate::convert;
use crate::engine::{self, HostConfig};
use crate::error::{HostError, PrepareError, Problem};
use crate::grants::Grants;
use crate::instance::{CallError, ConfigureError, Instance, Lost};
use crate::module::{CompiledModule, Loaded, ModuleInfo, Ready};
use crate::plan::Plan;
use crate::slot::SlotKey;
use crate::stats::{FilterStats, Registry};
use crate::store::Owner;
use crate::ticker::{Ticker, Watch};

/// Engine, modules and counts. Cheap to clone; the last clone ends the deadline thread.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    config: HostConfig,
    engine: Engine,
    pooled: bool,
    ticker: Ticker,
    modules: RwLock<HashMap<String, Arc<Loaded>>>,
    registry: Registry,
    breakers: Mutex<Breakers>,
}

/// One for each version of each filter that a worker serves.
type Breakers = HashMap<(Arc<str>, Version), Weak<Breaker>>;

impl Host {
    /// Starts the engine and the deadline thread.
    ///
    /// # Errors
    /// The machine lacks what the engine needs; retrying does not help.
    pub fn new(config: HostConfig) -> Result<Self, HostError> {
        let (engine, pooled) = engine::start(&config)?;
        let ticker = Ticker::start(engine.clone())?;
        Ok(Self(Arc::new(Inner {
            config,
            engine,
            pooled,
            ticker,
            modules: RwLock::default(),
            registry: Registry::default(),
            breakers: Mutex::default(),
        })))
    }

    /// Makes a module available by its digest. A module of the same digest stays as it is.
    pub fn load(&self, module: CompiledModule) {
        let digest = module.info.digest.clone();
        self.0.modules.write().entry(digest).or_insert_with(|| Arc::new(Loaded::new(module)));
    }

    /// What is known of a loaded module.
    pub fn module(&self, digest: &str) -> Option<Arc<ModuleInfo>> {
        self.0.modules.read().get(digest).map(|loaded| Arc::clone(&loaded.info))
    }

    /// Forgets a module. Policies made from it go on.
    pub fn unload(&self, digest: &str) {
        self.0.modules.write().remove(digest);
    }

    /// Tries a filter: grants against imports, configuration against the module's schema, then
    /// `configure` and `plan` in an instance that is thrown away. May take as long as
    /// [`HostConfig::configure_deadline`] allows: never on a worker.
    ///
    /// # Errors
    /// What is wrong with the filter, and who has to change what; retrying does not help.
    pub fn check(&self, filter: &Filter) -> Result<Arc<Plan>, PrepareError> {
        let (key, ready) = self.resolve(filter)?;
        self.check_config(filter)?;
        let deadline = self.0.config.configure_deadline;
        let (owner, watch) = (Owner::detached(&filter.name), self.watch());
        let memory = key.memory_bytes;
        let mut instance = Instance::start(&ready, Arc::clone(&owner), memory, deadline, &watch)
            .map_err(|lost| failed("instantiate", lost))?;
        instance
            .configure(0, filter, &owner, deadline, &watch)
            .map_err(|error| configure_error("configure", error))?;
        let raw = instance.plan(0, &owner, deadline, &watch).map_err(|error| match error {
            CallError::Lost(lost) => failed("plan", lost),
            CallError::Fault(message) => PrepareError::Failed { step: "plan", message },
        })?;
        convert::plan(filter, raw).map(Arc::new).map_err(PrepareError::InvalidPlan)
    }

    /// What each filter that a worker serves did, sorted by name.
    pub fn stats(&self) -> Vec<FilterStats> {
        let mut stats = self.0.registry.read();
        let breakers = self.0.breakers.lock();
        for ((filter, _), breaker) in breakers.iter() {
            if breaker.upgrade().is_some_and(|breaker| breaker.is_open())
                && let Ok(at) = stats.binary_search_by(|s| s.filter.as_str().cmp(filter))
            {
                stats[at].quarantined = true;
            }
        }
        stats
    }

    /// Whether instances come from a pool. Where not, replacing one takes twice as long.
    pub fn is_pooled(&self) -> bool {
        self.0.pooled
    }

    /// Whether the deadline thread sleeps because no policy runs.
    pub fn is_idle(&self) -> bool {
        self.0.ticker.is_asleep()
    }

    /// The settings it was started with.
    pub fn config(&self) -> &HostConfig {
        &self.0.config
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn watch(&self) -> Watch {
        self.0.ticker.watch()
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// The quarantine of one version of a filter, shared by all workers.
    pub(crate) fn breaker(&self, filter: &Arc<str>, version: Version) -> Arc<Breaker> {
        let mut breakers = self.0.breakers.lock();
        breakers.retain(|_, breaker| breaker.strong_count() > 0);
        let known = breakers.entry((Arc::clone(filter), version)).or_default();
        known.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Breaker::new(self.0.config.quarantine.clone()));
            *known = Arc::downgrade(&new);
            new
        })
    }

    /// The module of a filter, linked with the filter's grants, and what its instances may be
    /// shared by. Decided without running any code of the module.
    pub(crate) fn resolve(&self, filter: &Filter) -> Result<(SlotKey, Arc<Ready>), PrepareError> {
        let loaded = self.0.modules.read().get(&filter.module).map(Arc::clone);
        let loaded = loaded.ok_or_else(|| PrepareError::ModuleNotFound(filter.module.clone()))?;
        let (wanted, actual) = (PolicyKind::try_from(filter.kind).ok(), loaded.info.kind);
        if wanted != Some(actual) {
            let wanted = wanted.map_or("unknown", PolicyKind::name);
            return Err(PrepareError::WrongWorld { wanted, actual: actual.name() });
        }
        let grants = Grants::parse(filter.grants.iter().map(String::as_str));
        let grants = grants.map_err(|unknown| {
            PrepareError::CapabilityDenied(vec![format!("`{unknown}` (no such capability)")])
        })?;
        if !grants.contains(loaded.imports) {
            let missing = loaded.imports.without(grants).names().map(str::to_owned).collect();
            return Err(PrepareError::CapabilityDenied(missing));
        }
        let key = self.slot_key(filter, grants)?;
        let ready = loaded.ready(grants).map_err(|error| PrepareError::Failed {
            step: "link",
            message: format!("{error:#}"),
        })?;
        Ok((key, ready))
    }

    fn slot_key(&self, filter: &Filter, grants: Grants) -> Result<SlotKey, PrepareError> {
        let config = &self.0.config;
        if !(1..=config.max_memory_bytes).contains(&filter.memory_bytes) {
            return Err(PrepareError::Limits(format!(
                "memory of {} bytes, 1 to {}",
                filter.memory_bytes, config.max_memory_bytes
            )));
        }
        let max_deadline = u64::try_from(config.max_deadline.as_micros()).unwrap_or(u64::MAX);
        if !(1..=max_deadline).contains(&filter.deadline_us) {
            return Err(PrepareError::Limits(format!(
                "deadline of {} µs, 1 to {max_deadline}",
                filter.deadline_us
            )));
        }
        let namespace = filter.name.split_once('/').map_or("", |(namespace, _)| namespace);
        Ok(SlotKey {
            digest: filter.module.clone(),
            namespace: namespace.to_owned(),
            grants,
            memory_bytes: filter.memory_bytes,
            deadline_us: filter.deadline_us,
            max_invocations: match filter.max_invocations {
                0 => config.max_invocations,
                n => n,
            },
        })
    }

    /// The configuration against the module's schema.
    #[cfg(feature = "compile")]
    fn check_config(&self, filter: &Filter) -> Result<(), PrepareError> {
        let Some(module) = self.module(&filter.module) else { return Ok(()) };
        let schema = &module.descriptor.config_schema;
        let problems = match serde_json::from_str::<serde_json::Value>(&filter.config_json) {
            Err(error) => vec![Problem::new("", format!("not JSON: {error}"))],
            Ok(config) if !schema.is_empty() => crate::schema::validate(schema, &config),
            Ok(config) if config.is_null() || config.as_object().is_some_and(|o| o.is_empty()) => {
                Vec::new()
            }
            Ok(_) => vec![Problem::new("", "the module takes no configuration")],
        };
        if problems.is_empty() { Ok(()) } else { Err(PrepareError::InvalidConfig { problems }) }
    }

    /// Without the compiler this host loads what an operator checked before.
    #[cfg(not(feature = "compile"))]
    fn check_config(&self, filter: &Filter) -> Result<(), PrepareError> {
        serde_json::from_str::<serde::de::IgnoredAny>(&filter.config_json).map(drop).map_err(
            |error| {
                let problems = vec![Problem::new("", format!("not JSON: {error}"))];
                PrepareError::InvalidConfig { problems }
            },
        )
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("pooled", &self.0.pooled).finish_non_exhaustive()
    }
}

/// What a failed `configure` means for the filter.
pub(crate) fn configure_error(step: &'static str, error: ConfigureError) -> PrepareError {
    match error {
        ConfigureError::Problems(problems) => PrepareError::InvalidConfig { problems },
        ConfigureError::Lost(lost) => failed(step, lost),
    }
}

fn failed(step: &'static str, lost: Lost) -> PrepareError {
    let message = format!("{}: {}", lost.failure.as_reason(), lost.message);
    PrepareError::Failed { step, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_shared_by_threads() {
        fn shared<T: Clone + Send + Sync + 'static>() {}
        shared::<Host>();
        shared::<CompiledModule>();
    }
}
