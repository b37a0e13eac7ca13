//! Series by name, bounded in number, with a cell for each worker.

use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};

/// Label value of the series that takes what came after the bound was reached. No route, filter,
/// listener or backend is called so: their names hold a `/`.
pub const OVERFLOW: &str = "overflow";

/// Kept apart from its neighbours, so that two workers never write to one cache line; 128 bytes
/// because processors fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

/// One series: cells of type `T`, one for each worker.
#[derive(Debug)]
pub struct Series<T> {
    cells: Box<[Apart<T>]>,
}

impl<T: Default> Series<T> {
    /// A series for so many workers, at least one.
    pub(super) fn new(workers: usize) -> Self {
        Self { cells: (0..workers.max(1)).map(|_| Apart::default()).collect() }
    }
}

impl<T> Series<T> {
    /// The cells of one worker. Only its own thread writes to them. A number beyond the last worker
    /// means the last.
    #[inline]
    pub fn at(&self, worker: usize) -> &T {
        &self.cells[worker.min(self.cells.len() - 1)].0
    }

    /// The cells of all workers.
    pub fn each(&self) -> impl Iterator<Item = &T> {
        self.cells.iter().map(|cell| &cell.0)
    }

    /// A number summed over all workers.
    pub fn sum(&self, of: impl Fn(&T) -> u64) -> u64 {
        self.each().map(of).fold(0, u64::wrapping_add)
    }
}

/// Series by name, at most `bound` of them.
///
/// A series lives at least as long as somebody holds it. One that nobody holds any more (its route
/// is gone) is still reported, until its place is needed.
#[derive(Debug)]
pub struct Bounded<T> {
    workers: usize,
    bound: usize,
    series: Mutex<BTreeMap<Arc<str>, Arc<Series<T>>>>,
    overflow: Arc<Series<T>>,
}

impl<T: Default> Bounded<T> {
    /// No series yet.
    pub(super) fn new(workers: usize, bound: usize) -> Self {
        Self { workers, bound, series: Mutex::default(), overflow: Arc::new(Series::new(workers)) }
    }

    /// The series of that name, made where there is none; the one called [`OVERFLOW`] where there is
    /// no room. Keep it: this locks and searches.
    pub fn get(&self, name: &str) -> Arc<Series<T>> {
        let mut series = self.series.lock();
        if let Some(found) = series.get(name) {
            return found.clone();
        }
        if series.len() >= self.bound {
            series.retain(|_, series| Arc::strong_count(series) > 1);
        }
        if series.len() >= self.bound {
            return self.overflow.clone();
        }
        let new = Arc::new(Series::new(self.workers));
        series.insert(name.into(), new.clone());
        new
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.series.lock().len()
    }

    /// How many there may be.
    pub(super) fn bound(&self) -> usize {
        self.bound
    }

    /// Every series with its name. The overflow comes last, and only where the bound was reached.
    pub(super) fn all(&self) -> Vec<(Arc<str>, Arc<Series<T>>)> {
        let series = self.series.lock();
        let mut all: Vec<_> =
            series.iter().map(|(name, series)| (name.clone(), series.clone())).collect();
        if series.len() >= self.bound {
            all.push((OVERFLOW.into(), self.overflow.clone()));
        }
        all
    }
}

/// Counts by a reason from a small fixed set. For what is rare: it locks.
#[derive(Debug, Default)]
pub struct Reasons(Mutex<Vec<(&'static str, u64)>>);

impl Reasons {
    /// Counts one.
    pub fn inc(&self, reason: &'static str) {
        let mut counts = self.0.lock();
        match counts.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => counts.push((reason, 1)),
        }
    }

    /// Adds the counts to a sum.
    pub(super) fn add_to(&self, total: &mut BTreeMap<&'static str, u64>) {
        for (reason, count) in self.0.lock().iter() {
            *total.entry(reason).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::cells::Counter, *};

    #[test]
    fn one_name_is_one_series_and_workers_add_up() {
        let bounded = Bounded::<Counter>::new(2, 8);
        bounded.get("a/b").at(0).add(1);
        bounded.get("a/b").at(1).add(2);
        assert_eq!(bounded.get("a/b").sum(Counter::get), 3);
        assert_eq!(bounded.all().len(), 1);
    }

    #[test]
    fn beyond_the_bound_names_share_the_overflow() {
        let bounded = Bounded::<Counter>::new(1, 2);
        let held = [bounded.get("n/1"), bounded.get("n/2")];
        bounded.get("n/3").at(0).add(3);
        bounded.get("n/4").at(0).add(4);
        let all = bounded.all();
        let names: Vec<&str> = all.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["n/1", "n/2", OVERFLOW]);
        assert_eq!(all[2].1.sum(Counter::get), 7);
        drop(held);
    }

    #[test]
    fn a_series_that_nobody_holds_gives_way_when_room_is_needed() {
        let bounded = Bounded::<Counter>::new(1, 2);
        bounded.get("n/gone").at(0).inc();
        let held = bounded.get("n/held");
        assert_eq!(bounded.get("n/gone").sum(Counter::get), 1, "kept while there is room");
        bounded.get("n/new").at(0).inc();
        let all = bounded.all();
        let names: Vec<&str> = all.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["n/held", "n/new", OVERFLOW]);
        drop(held);
    }

    #[test]
    fn a_worker_beyond_the_last_writes_to_the_last() {
        let series = Series::<Counter>::new(0);
        series.at(7).inc();
        assert_eq!(series.sum(Counter::get), 1);
    }

    #[test]
    fn reasons_are_counted_apart() {
        let reasons = Reasons::default();
        reasons.inc("timeout");
        reasons.inc("timeout");
        reasons.inc("refused");
        let mut total = BTreeMap::new();
        reasons.add_to(&mut total);
        assert_eq!(total.into_iter().collect::<Vec<_>>(), [("refused", 1), ("timeout", 2)]);
    }
}
