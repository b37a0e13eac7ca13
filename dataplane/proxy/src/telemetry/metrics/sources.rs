//! What the families of the metrics page read.

use super::{Metrics, process::Process};
use crate::telemetry::{AccessLog, Tracer};
use penstock_filter_host::FilterStats;
use penstock_telemetry::trace::ExportStats;
use std::sync::Arc;

/// What the families read.
pub(super) struct Sources {
    pub(super) metrics: Arc<Metrics>,
    pub(super) filters: Vec<FilterStats>,
    pub(super) user_left_out: usize,
    pub(super) tracer: Option<Arc<Tracer>>,
    pub(super) export: Option<Arc<ExportStats>>,
    pub(super) log: Option<Arc<AccessLog>>,
    pub(super) process: Option<Process>,
}
