//! What the operator counts.

use crate::addresses::AddressMetrics;
use penstock_resources::Kind;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{fmt, sync::Arc, time::Duration};

/// Seconds: from a millisecond to half a minute.
const SECONDS: [f64; 14] =
    [0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.125, 0.25, 0.5, 1.0, 4.0, 10.0, 30.0];

/// Handles to all metrics. Clones count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Inputs that wait.
    pub queue: Gauge,
    /// From the first input of a series to what it led to.
    pub reconcile: Family<Stage, Histogram>,
    /// Writes to the API server.
    pub writes: Family<Write, Counter>,
    /// Whether this replica leads.
    pub leader: Gauge,
    /// Node processes that have a stream.
    pub nodes: Family<Role, Gauge>,
    /// Resources that nodes are told.
    pub resources: Gauge,
    /// Addresses, and calls of EC2.
    pub addresses: AddressMetrics,
}

/// What a series of inputs led to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Stage {
    /// `publish` or `acknowledge`.
    pub stage: &'static str,
}

/// A write.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Write {
    /// Kind of the object.
    pub kind: &'static str,
    /// `written`, `unchanged`, `conflict`, `gone` or `failed`.
    pub result: &'static str,
}

/// What a node process does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Role {
    /// `proxy` or `agent`.
    pub role: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("penstock_operator");
        let (queue, leader, resources) = (Gauge::default(), Gauge::default(), Gauge::default());
        let reconcile: Family<Stage, Histogram> =
            Family::new_with_constructor(|| Histogram::new(SECONDS));
        let (writes, nodes) = (Family::default(), Family::default());
        registry.register("queue_depth", "Inputs of the core that wait", queue.clone());
        registry.register(
            "reconcile_seconds",
            "From the first input of a series to its publication, and to its acknowledgement",
            reconcile.clone(),
        );
        registry.register("writes", "Writes to the API server", writes.clone());
        registry.register("leader", "Whether this replica leads", leader.clone());
        registry.register("stream_nodes", "Node processes that have a stream", nodes.clone());
        registry.register("resources", "Resources that nodes are told", resources.clone());
        let addresses = AddressMetrics::new(&mut registry);
        let registry = Arc::new(registry);
        Self { registry, queue, reconcile, writes, leader, nodes, resources, addresses }
    }
}

impl Metrics {
    /// Counts a write.
    pub fn write(&self, kind: Kind, result: &'static str) {
        self.writes.get_or_create(&Write { kind: kind.name(), result }).inc();
    }

    /// Notes how long a stage took.
    pub fn took(&self, stage: &'static str, time: Duration) {
        self.reconcile.get_or_create(&Stage { stage }).observe(time.as_secs_f64());
    }

    /// The page that Prometheus reads (OpenMetrics 1.0).
    ///
    /// # Errors
    /// None that these metrics can cause.
    pub fn page(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
