//! What the host counts for each filter. Each worker writes cells of its own without locks; reading
//! sums them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::outcome::{FilterFailure, Tier};
use crate::series::{SeriesSet, UserSeries};

/// Upper bounds of the buckets of call times, in nanoseconds; one more bucket is without end.
pub const CALL_TIME_BOUNDS: [u64; 16] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 25_000_000,
];

/// What one filter did since the host started, over all workers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FilterStats {
    /// `namespace/name` of the WasmFilter.
    pub filter: String,
    /// Steps by [`Tier`], in the order of [`Tier::ALL`].
    pub steps: [u64; 4],
    /// Failed steps by [`FilterFailure`], in the order of [`FilterFailure::ALL`].
    pub failures: [u64; 8],
    /// Instances replaced because of their age or size.
    pub recycles: u64,
    /// Log lines beyond the allowed rate.
    pub log_dropped: u64,
    /// Instances that serve the filter now, spares included.
    pub instances: u64,
    /// Linear memory of those instances, in bytes.
    pub memory_bytes: u64,
    /// Whether a version of the filter is in quarantine.
    pub quarantined: bool,
    /// Calls by time: one count for each of [`CALL_TIME_BOUNDS`] and one beyond; not cumulative.
    pub call_times: [u64; CALL_TIME_BOUNDS.len() + 1],
    /// Sum of the time of all calls.
    pub call_time_sum: Duration,
    /// Series of the filter's own.
    pub user: Vec<UserSeries>,
}

impl FilterStats {
    /// Steps that came about in this way.
    pub fn steps(&self, tier: Tier) -> u64 {
        self.steps[tier as usize]
    }

    /// Steps that failed in this way.
    pub fn failures(&self, failure: FilterFailure) -> u64 {
        self.failures[failure as usize]
    }
}

/// The cells of one worker for one filter. Only that worker writes, so a plain load and store
/// counts without a locked instruction.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    steps: [AtomicU64; 4],
    failures: [AtomicU64; 8],
    recycles: AtomicU64,
    log_dropped: AtomicU64,
    instances: AtomicU64,
    memory_bytes: AtomicU64,
    call_times: [AtomicU64; CALL_TIME_BOUNDS.len() + 1],
    call_nanos: AtomicU64,
}

impl Cells {
    #[inline]
    pub(crate) fn step(&self, tier: Tier) {
        bump(&self.steps[tier as usize], 1);
    }

    pub(crate) fn failure(&self, failure: FilterFailure) {
        bump(&self.failures[failure as usize], 1);
    }

    pub(crate) fn recycled(&self) {
        bump(&self.recycles, 1);
    }

    pub(crate) fn log_dropped(&self) {
        bump(&self.log_dropped, 1);
    }

    #[inline]
    pub(crate) fn call(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        bump(&self.call_nanos, nanos);
        let bucket = CALL_TIME_BOUNDS.iter().position(|bound| nanos <= *bound);
        bump(&self.call_times[bucket.unwrap_or(CALL_TIME_BOUNDS.len())], 1);
    }

    pub(crate) fn hold(&self, instances: u64, memory_bytes: u64) {
        self.instances.store(instances, Ordering::Relaxed);
        self.memory_bytes.store(memory_bytes, Ordering::Relaxed);
    }

    fn add_to(&self, stats: &mut FilterStats) {
        add(&mut stats.steps, &self.steps);
        add(&mut stats.failures, &self.failures);
        add(&mut stats.call_times, &self.call_times);
        stats.recycles += read(&self.recycles);
        stats.log_dropped += read(&self.log_dropped);
        stats.instances += read(&self.instances);
        stats.memory_bytes += read(&self.memory_bytes);
        stats.call_time_sum += Duration::from_nanos(read(&self.call_nanos));
    }
}

fn bump(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

fn read(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}

fn add(sums: &mut [u64], cells: &[AtomicU64]) {
    for (sum, cell) in sums.iter_mut().zip(cells) {
        *sum += read(cell);
    }
}

/// Every filter that a worker serves.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<BTreeMap<Arc<str>, Record>>);

#[derive(Debug, Default)]
struct Record {
    /// What workers counted that no longer serve the filter.
    retired: FilterStats,
    live: Vec<Arc<Cells>>,
    series: Arc<SeriesSet>,
}

impl Registry {
    /// Cells for one policy on one worker, and the filter's series.
    pub(crate) fn register(&self, filter: &Arc<str>) -> (Arc<Cells>, Arc<SeriesSet>) {
        let mut records = self.0.lock();
        let record = records.entry(Arc::clone(filter)).or_default();
        let cells = Arc::new(Cells::default());
        record.live.push(Arc::clone(&cells));
        (cells, Arc::clone(&record.series))
    }

    /// Ends cells. Their counts stay while anything serves the filter; then the filter is gone.
    pub(crate) fn retire(&self, filter: &str, cells: &Arc<Cells>) {
        let mut records = self.0.lock();
        let Some(record) = records.get_mut(filter) else { return };
        record.live.retain(|live| !Arc::ptr_eq(live, cells));
        cells.hold(0, 0);
        cells.add_to(&mut record.retired);
        if record.live.is_empty() {
            records.remove(filter);
        }
    }

    /// Sums, sorted by filter.
    pub(crate) fn read(&self) -> Vec<FilterStats> {
        let records = self.0.lock();
        let sum = |(filter, record): (&Arc<str>, &Record)| {
            let mut stats = record.retired.clone();
            stats.filter = filter.to_string();
            record.live.iter().for_each(|cells| cells.add_to(&mut stats));
            stats.user = record.series.values();
            stats
        };
        records.iter().map(sum).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_survive_a_change_of_version_and_end_with_the_filter() {
        let registry = Registry::default();
        let name: Arc<str> = "shop/key".into();
        let (old, _) = registry.register(&name);
        old.step(Tier::Memo);
        old.failure(FilterFailure::Trap);
        old.call(Duration::from_nanos(700));
        old.hold(2, 1000);
        let (new, _) = registry.register(&name);
        registry.retire(&name, &old);
        new.step(Tier::Memo);
        let stats = registry.read().remove(0);
        assert_eq!((stats.steps(Tier::Memo), stats.failures(FilterFailure::Trap)), (2, 1));
        assert_eq!((stats.instances, stats.memory_bytes), (0, 0), "gauges do not linger");
        assert_eq!(stats.call_times[2], 1, "700 ns is within 1 µs");
        assert_eq!(stats.call_time_sum, Duration::from_nanos(700));
        registry.retire(&name, &new);
        assert!(registry.read().is_empty());
    }
}
