//! The hot engine: synchronous, interrupted by epochs, instances from a pool.

use std::time::Duration;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::error::HostError;

/// How the host runs policies. The defaults suit a gateway.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Instances alive at once, over all workers. Each takes 4 GiB of address space, not of memory.
    pub max_instances: u32,
    /// Largest module, in bytes.
    pub max_module_bytes: usize,
    /// Most linear memory that a filter's limits may ask for, in bytes.
    pub max_memory_bytes: u64,
    /// Longest deadline that a filter's limits may ask for.
    pub max_deadline: Duration,
    /// Time for each of `describe`, `configure`, `plan` and the start of an instance.
    pub configure_deadline: Duration,
    /// Calls after which an instance is replaced where a filter says nothing.
    pub max_invocations: u64,
    /// When a filter that keeps failing is no longer called.
    pub quarantine: QuarantineConfig,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            max_instances: 1000,
            max_module_bytes: 32 << 20,
            max_memory_bytes: 256 << 20,
            max_deadline: Duration::from_secs(1),
            configure_deadline: Duration::from_millis(250),
            max_invocations: 1_000_000,
            quarantine: QuarantineConfig::default(),
        }
    }
}

/// When a filter is quarantined, and for how long.
#[derive(Clone, Debug)]
pub struct QuarantineConfig {
    /// Lost instances (trap, deadline, memory) within the window, over all workers.
    pub failures: u32,
    /// The window.
    pub window: Duration,
    /// First pause before one call probes the filter; doubles with each failed probe.
    pub backoff: Duration,
    /// Longest pause.
    pub max_backoff: Duration,
}

impl Default for QuarantineConfig {
    fn default() -> Self {
        Self {
            failures: 10,
            window: Duration::from_secs(10),
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(60),
        }
    }
}

/// Memory of an idle pool slot that stays resident, in bytes: what a small guest touches, so that
/// a new instance does not fault its pages in again.
const KEEP_RESIDENT: usize = 256 << 10;

/// Starts the engine. Where the address space does not hold the pool (a limit on it, or an
/// emulator), instances are mapped one by one: same semantics, slower replacement.
pub(crate) fn start(config: &HostConfig) -> Result<(Engine, bool), HostError> {
    let mut settings = base()?;
    settings.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config)));
    match Engine::new(&settings) {
        Ok(engine) => Ok((engine, true)),
        Err(error) => {
            tracing::warn!(%error, "no address space for the instance pool, mapping on demand");
            let engine = Engine::new(&base()?);
            Ok((engine.map_err(|e| HostError::Engine(format!("{e:#}")))?, false))
        }
    }
}

/// Settings that decide about compiled code are the same with and without the pool, so that a
/// compiled module fits either.
fn base() -> Result<Config, HostError> {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_memory64(false)
        .concurrency_support(false)
        .epoch_interruption(true)
        .memory_init_cow(true);
    #[cfg(feature = "compile")]
    target(&mut config)?;
    Ok(config)
}

/// Features of the processor that compiled code may use, so that it runs on every node: x86-64-v2
/// (all since 2009), and on other processors the least that their architecture has. Without this
/// the compiler would take what it finds on the machine that it runs on.
#[cfg(all(feature = "compile", target_arch = "x86_64"))]
const FEATURES: &[&str] =
    &["has_cmpxchg16b", "has_popcnt", "has_sse3", "has_ssse3", "has_sse41", "has_sse42"];
#[cfg(all(feature = "compile", not(target_arch = "x86_64")))]
const FEATURES: &[&str] = &[];

/// The same processor and system as this process, with no other features than those above.
#[cfg(feature = "compile")]
fn target(config: &mut Config) -> Result<(), HostError> {
    let system = if cfg!(target_env = "musl") { "linux-musl" } else { "linux-gnu" };
    config
        .target(&format!("{}-unknown-{system}", std::env::consts::ARCH))
        .map_err(|error| HostError::Engine(format!("{error:#}")))?;
    for feature in FEATURES {
        #[expect(unsafe_code, reason = "the compiler takes features of a processor only so")]
        // SAFETY: these only say which instructions exist, and the engine refuses code whose
        // features the machine does not have.
        unsafe {
            config.cranelift_flag_enable(feature);
        }
    }
    Ok(())
}

fn pool(config: &HostConfig) -> PoolingAllocationConfig {
    let n = config.max_instances;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(n)
        .total_core_instances(n.saturating_mul(16))
        .total_memories(n)
        .total_tables(n.saturating_mul(3))
        .max_memory_size(usize::try_from(config.max_memory_bytes).unwrap_or(usize::MAX))
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(16 << 10);
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_address_space_for_the_pool_instances_are_mapped_on_demand() {
        let (_, pooled) = start(&HostConfig::default()).expect("an engine");
        assert!(pooled);
        let huge = HostConfig { max_instances: 60_000, ..HostConfig::default() };
        let (_, pooled) = start(&huge).expect("an engine");
        assert!(!pooled, "240 TiB do not fit 47 bits");
    }
}
