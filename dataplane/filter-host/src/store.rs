//! What an instance's store holds: its memory limit, and the policy and exchange of the moment.

use cpu_time::ThreadTime;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Trap, UpdateDeadline};

use crate::outcome::SpanNotes;
use crate::selector::Exchange;
use crate::series::SeriesSet;
use crate::stats::Cells;
use crate::ticker::epochs;

/// Log lines a second for each filter and worker.
const LOG_RATE: u32 = 100;
/// Handles (counters, gauges) that an instance may hold.
const MAX_HANDLES: usize = 1024;
/// Elements of all tables of an instance.
const MAX_TABLE_ELEMENTS: usize = 100_000;

/// State behind an instance.
pub(crate) struct Data {
    pub(crate) limits: Limits,
    pub(crate) spent: Spent,
    /// The policy that runs.
    pub(crate) owner: Arc<Owner>,
    /// Whether it is being configured: only then may it make metric handles.
    pub(crate) configuring: bool,
    /// A capability used against its rules: makes the decision a fault.
    pub(crate) misuse: Option<String>,
    pub(crate) recording: bool,
    pub(crate) notes: SpanNotes,
    pub(crate) route: String,
    pub(crate) trace_id: String,
    pub(crate) handles: ResourceTable,
}

/// One policy as its capabilities see it.
pub(crate) struct Owner {
    /// `namespace/name` of the WasmFilter.
    pub(crate) filter: Arc<str>,
    pub(crate) cells: Arc<Cells>,
    pub(crate) series: Arc<SeriesSet>,
    log_budget: Mutex<LogBudget>,
}

struct LogBudget {
    since: Instant,
    left: u32,
}

impl Owner {
    pub(crate) fn new(filter: Arc<str>, cells: Arc<Cells>, series: Arc<SeriesSet>) -> Arc<Self> {
        let log_budget = Mutex::new(LogBudget { since: Instant::now(), left: LOG_RATE });
        Arc::new(Self { filter, cells, series, log_budget })
    }

    /// One that counts for nobody: a trial run.
    pub(crate) fn detached(filter: &str) -> Arc<Self> {
        Self::new(filter.into(), Arc::default(), Arc::default())
    }

    /// Whether one more log line is allowed; counts it where not.
    pub(crate) fn may_log(&self) -> bool {
        let mut budget = self.log_budget.lock();
        if budget.left == 0 {
            let now = Instant::now();
            if now.duration_since(budget.since) < Duration::from_secs(1) {
                self.cells.log_dropped();
                return false;
            }
            *budget = LogBudget { since: now, left: LOG_RATE };
        } else if budget.left == LOG_RATE {
            budget.since = Instant::now();
        }
        budget.left -= 1;
        true
    }
}

impl Data {
    pub(crate) fn new(owner: Arc<Owner>, memory_bytes: u64) -> Self {
        let mut handles = ResourceTable::new();
        handles.set_max_capacity(MAX_HANDLES);
        Self {
            limits: Limits::new(memory_bytes),
            spent: Spent::default(),
            owner,
            configuring: true,
            misuse: None,
            recording: false,
            notes: SpanNotes::default(),
            route: String::new(),
            trace_id: String::new(),
            handles,
        }
    }

    /// Makes the capabilities speak for one policy and one exchange.
    pub(crate) fn attend(&mut self, owner: &Arc<Owner>, exchange: Option<&dyn Exchange>) {
        if !Arc::ptr_eq(&self.owner, owner) {
            self.owner = Arc::clone(owner);
        }
        self.route.clear();
        self.trace_id.clear();
        self.recording = false;
        if let Some(exchange) = exchange {
            self.recording = exchange.recording();
            self.route.push_str(exchange.route());
            self.trace_id.push_str(exchange.trace_id().unwrap_or_default());
        }
    }

    /// What the policy put on its span.
    pub(crate) fn take_notes(&mut self) -> Option<Box<SpanNotes>> {
        let empty = self.notes.attributes.is_empty() && self.notes.events.is_empty();
        (!empty).then(|| Box::new(std::mem::take(&mut self.notes)))
    }
}

/// What a call has had of its time. What counts is the processor's time of the worker's thread: on a
/// busy machine a thread may wait for longer than a deadline, and no policy is at fault for that.
#[derive(Default)]
pub(crate) struct Spent {
    deadline: Duration,
    /// The thread's time when the call was first seen to run, by the first epoch in it.
    since: Option<Duration>,
}

impl Spent {
    /// A call begins that may take so long.
    pub(crate) fn begin(&mut self, deadline: Duration) {
        (self.deadline, self.since) = (deadline, None);
    }

    /// An epoch that was waited for has come: the call has to end, or looks again after as many
    /// epochs as it has milliseconds left. A call that sees no epoch, as nearly all, costs nothing.
    pub(crate) fn look(&mut self) -> wasmtime::Result<UpdateDeadline> {
        let now = ThreadTime::now().as_duration();
        let since = *self.since.get_or_insert(now);
        let left = self.deadline.saturating_sub(now.saturating_sub(since));
        match left.is_zero() {
            true => Err(Trap::Interrupt.into()),
            false => Ok(UpdateDeadline::Continue(epochs(left))),
        }
    }
}

/// Memory and table limits of an instance.
pub(crate) struct Limits {
    cap: usize,
    used: usize,
    table_elements: usize,
    /// Whether memory was refused since this was last cleared.
    pub(crate) refused: bool,
}

impl Limits {
    fn new(memory_bytes: u64) -> Self {
        let cap = usize::try_from(memory_bytes).unwrap_or(usize::MAX);
        Self { cap, used: 0, table_elements: 0, refused: false }
    }

    /// Linear memory in use, in bytes.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Whether more than three quarters of the memory are in use.
    pub(crate) fn nearly_full(&self) -> bool {
        self.used > self.cap / 4 * 3
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = (self.used - current.min(self.used)).saturating_add(desired);
        if used > self.cap || maximum.is_some_and(|maximum| desired > maximum) {
            self.refused = true;
            return Ok(false);
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let elements = self.table_elements - current.min(self.table_elements) + desired;
        if elements > MAX_TABLE_ELEMENTS || maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.table_elements = elements;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_over_all_memories_and_refused_beyond_the_limit() {
        let mut limits = Limits::new(1000);
        assert!(limits.memory_growing(0, 600, None).expect("no trap"));
        assert!(limits.memory_growing(0, 150, None).expect("no trap"));
        assert!(!limits.nearly_full());
        assert!(limits.memory_growing(150, 151, None).expect("no trap"));
        assert!(limits.nearly_full());
        assert!(!limits.refused);
        assert!(!limits.memory_growing(600, 850, None).expect("no trap"));
        assert!(limits.refused);
        assert_eq!(limits.used(), 751);
    }

    #[test]
    fn at_most_100_lines_a_second_are_logged_and_the_rest_is_counted() {
        let owner = Owner::detached("shop/a");
        let kept = (0..150).filter(|_| owner.may_log()).count();
        assert!((100..=200).contains(&kept), "{kept}");
        owner.log_budget.lock().since -= Duration::from_secs(2);
        assert!((0..10).all(|_| owner.may_log()));
    }
}
