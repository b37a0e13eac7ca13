//! Metrics: cells that workers write without sharing, summed when somebody reads them.
//!
//! A handle (`Arc<Series<RouteCells>>`) is made while a snapshot is built and kept in it; a request
//! writes through `handle.at(worker)`. The names of routes, filters, listeners and backends are the
//! only labels without a fixed set of values, and each has a bound ([`MetricsOptions`]).

mod cells;
mod families;
mod page;
mod process;
mod series;
mod sources;
mod text;

pub use cells::{
    BOUNDS_NS, Counter, Gauge, Histogram, HistogramTotal, STATUS_CLASSES, status_class,
};
pub use families::UNROUTED;
pub use page::{FilterSource, MetricsPage};
pub use series::{Bounded, OVERFLOW, Reasons, Series};

use super::record::FilterVerdict;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// How many series there may be at most.
#[derive(Clone, Copy, Debug)]
pub struct MetricsOptions {
    /// Worker threads.
    pub workers: usize,
    /// Different routes.
    pub routes: usize,
    /// Different filters.
    pub filters: usize,
    /// Different listeners.
    pub listeners: usize,
    /// Different backends.
    pub backends: usize,
}

impl MetricsOptions {
    /// The bounds that the proxy runs with: at most about 1 MiB for each worker.
    pub fn new(workers: usize) -> Self {
        Self { workers, routes: 2048, filters: 1024, listeners: 512, backends: 2048 }
    }
}

/// Of one route.
#[derive(Debug, Default)]
pub struct RouteCells {
    /// Requests by [`status_class`].
    pub requests: [Counter; STATUS_CLASSES.len()],
    /// From the head of the request to the end of the response.
    pub duration: Histogram,
    /// Bytes of request bodies.
    pub request_bytes: Counter,
    /// Bytes of response bodies.
    pub response_bytes: Counter,
}

/// Of one filter, as seen by requests.
#[derive(Debug, Default)]
pub struct FilterCells {
    /// Verdicts by [`FilterVerdict::index`].
    pub verdicts: [Counter; FilterVerdict::COUNT],
}

impl FilterCells {
    /// Counts a verdict.
    #[inline]
    pub fn count(&self, verdict: FilterVerdict) {
        self.verdicts[verdict.index()].inc();
    }
}

/// Of one listener.
#[derive(Debug, Default)]
pub struct ListenerCells {
    /// Requests by protocol: HTTP/1.x, HTTP/2.
    pub requests: [Counter; 2],
    /// Handshakes that succeeded by version: TLS 1.2, TLS 1.3.
    pub handshakes: [Counter; 2],
    /// Handshakes that were refused or failed.
    pub handshake_failures: Reasons,
    /// From accept to the end of the handshake.
    pub handshake_duration: Histogram,
}

/// Of one backend.
#[derive(Debug, Default)]
pub struct BackendCells {
    /// Responses by [`status_class`].
    pub responses: [Counter; STATUS_CLASSES.len()],
    /// Tries that brought no response.
    pub failures: Reasons,
    /// From the try to the head of the response.
    pub duration: Histogram,
    /// Connections that are open.
    pub connections: Gauge,
    /// Connections that were made.
    pub connections_created: Counter,
    /// Tries that used a pooled connection.
    pub connections_reused: Counter,
}

/// Of one worker.
#[derive(Debug, Default)]
pub struct WorkerMetrics {
    /// Client connections that are open.
    pub connections: Gauge,
    /// Client connections that were accepted.
    pub connections_accepted: Counter,
    /// Client connections that were closed by a limit or a timeout.
    pub connections_closed: Reasons,
    /// Requests in flight.
    pub requests_active: Gauge,
    /// Requests that were answered.
    pub requests: Counter,
    /// Responses that the gateway made itself because something went wrong, and exchanges that
    /// broke off.
    pub errors: Reasons,
}

/// What the control path counts; any thread writes.
#[derive(Debug, Default)]
pub struct ConfigMetrics {
    version: Mutex<Option<Arc<str>>>,
    applies: AtomicU64,
    refusals: Reasons,
}

impl ConfigMetrics {
    /// A configuration is in effect.
    pub fn applied(&self, version: impl std::fmt::Display) {
        *self.version.lock() = Some(version.to_string().into());
        self.applies.fetch_add(1, Relaxed);
    }

    /// A part of a configuration was refused.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.inc(reason);
    }

    fn version(&self) -> Option<Arc<str>> {
        self.version.lock().clone()
    }

    fn applies(&self) -> u64 {
        self.applies.load(Relaxed)
    }

    fn refusals(&self) -> BTreeMap<&'static str, u64> {
        let mut total = BTreeMap::new();
        self.refusals.add_to(&mut total);
        total
    }
}

/// All cells of a process.
#[derive(Debug)]
pub struct Metrics {
    /// By `namespace/name` of the HTTPRoute.
    pub routes: Bounded<RouteCells>,
    /// Requests that no route took.
    pub unrouted: Arc<Series<RouteCells>>,
    /// By `namespace/name` of the WasmFilter.
    pub filters: Bounded<FilterCells>,
    /// By key of the listener, `namespace/gateway/section`.
    pub listeners: Bounded<ListenerCells>,
    /// By key of the backend, `namespace/name:port`.
    pub backends: Bounded<BackendCells>,
    /// Each worker's own.
    pub workers: Arc<Series<WorkerMetrics>>,
    /// The configuration.
    pub config: ConfigMetrics,
}

impl Metrics {
    /// Empty cells.
    pub fn new(options: MetricsOptions) -> Self {
        let workers = options.workers;
        Self {
            routes: Bounded::new(workers, options.routes),
            unrouted: Arc::new(Series::new(workers)),
            filters: Bounded::new(workers, options.filters),
            listeners: Bounded::new(workers, options.listeners),
            backends: Bounded::new(workers, options.backends),
            workers: Arc::new(Series::new(workers)),
            config: ConfigMetrics::default(),
        }
    }
}
