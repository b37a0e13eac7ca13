//! Numbers that one thread writes and any thread reads.
//!
//! A cell belongs to one worker. Adding is a relaxed load and a relaxed store instead of a locked
//! instruction, which is right only because nobody else writes; a second writer could lose counts,
//! never more. Readers see each cell whole and at most slightly old.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Only grows. One writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Goes up and down. One writer.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// One more.
    #[inline]
    pub fn inc(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// One less.
    #[inline]
    pub fn dec(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(1), Relaxed);
    }

    /// Replaces the number.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The number.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed) as i64
    }
}

/// Upper bounds of the histogram's buckets in nanoseconds; above the last is `+Inf`.
pub const BOUNDS_NS: [u64; 16] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// For each bit length of a duration in nanoseconds the first bucket that it can fall into, so that
/// at most two comparisons are left.
const FIRST: [u8; 65] = first_buckets();

const fn first_buckets() -> [u8; 65] {
    let mut first = [0; 65];
    let mut length = 1;
    while length <= 64 {
        let smallest = 1_u64 << (length - 1);
        let mut bucket = 0;
        while bucket < BOUNDS_NS.len() && BOUNDS_NS[bucket] < smallest {
            bucket += 1;
        }
        first[length] = bucket as u8;
        length += 1;
    }
    first
}

/// Distribution of durations over [`BOUNDS_NS`]. One writer.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BOUNDS_NS.len() + 1],
    sum_ns: Counter,
}

impl Histogram {
    /// Counts a duration.
    #[inline]
    pub fn observe(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(ns)].inc();
        self.sum_ns.add(ns);
    }

    /// Adds what this one counted to a sum.
    pub fn add_to(&self, total: &mut HistogramTotal) {
        for (bucket, count) in self.buckets.iter().zip(&mut total.buckets) {
            *count += bucket.get();
        }
        total.sum_ns = total.sum_ns.wrapping_add(self.sum_ns.get());
    }
}

/// A bound belongs to the bucket below it (`le`).
#[inline]
fn bucket_of(ns: u64) -> usize {
    let mut bucket = FIRST[(u64::BITS - ns.leading_zeros()) as usize] as usize;
    while bucket < BOUNDS_NS.len() && ns > BOUNDS_NS[bucket] {
        bucket += 1;
    }
    bucket
}

/// A sum of histograms.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramTotal {
    /// Counts of each bucket alone, not cumulative.
    pub buckets: [u64; BOUNDS_NS.len() + 1],
    /// Sum of all durations.
    pub sum_ns: u64,
}

impl HistogramTotal {
    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Classes of status codes, by [`status_class`].
pub const STATUS_CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Position of a status in [`STATUS_CLASSES`]; what is no status, such as the 0 of a client that
/// left, is `none`.
#[inline]
pub fn status_class(status: u16) -> usize {
    match status {
        100..=599 => (status / 100) as usize,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_falls_into_the_bucket_that_a_search_finds() {
        let naive = |ns: u64| BOUNDS_NS.iter().position(|bound| ns <= *bound).unwrap_or(16);
        let edges = BOUNDS_NS.iter().flat_map(|bound| [bound - 1, *bound, bound + 1]);
        let powers = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit]);
        for ns in edges.chain(powers).chain([0, u64::MAX]) {
            assert_eq!(bucket_of(ns), naive(ns), "{ns}");
        }
    }

    #[test]
    fn at_most_two_bounds_lie_between_two_powers_of_two() {
        for length in 1..64 {
            let (low, high) = (1_u64 << (length - 1), (1_u64 << length) - 1);
            assert!(bucket_of(high) - bucket_of(low) <= 2, "{length}");
        }
    }

    #[test]
    fn a_histogram_keeps_count_and_sum() {
        let (one, two) = (Histogram::default(), Histogram::default());
        one.observe(Duration::from_micros(100));
        one.observe(Duration::from_micros(101));
        two.observe(Duration::from_secs(11));
        let mut total = HistogramTotal::default();
        one.add_to(&mut total);
        two.add_to(&mut total);
        assert_eq!(total.count(), 3);
        assert_eq!((total.buckets[0], total.buckets[1], total.buckets[16]), (1, 1, 1));
        assert_eq!(total.sum_ns, 11_000_201_000);
    }

    #[test]
    fn a_gauge_goes_back_to_where_it_was() {
        let gauge = Gauge::default();
        gauge.dec();
        assert_eq!(gauge.get(), -1);
        gauge.inc();
        gauge.inc();
        assert_eq!(gauge.get(), 1);
        gauge.set(9);
        assert_eq!(gauge.get(), 9);
    }

    #[test]
    fn a_status_has_one_class() {
        let class = |status| STATUS_CLASSES[status_class(status)];
        assert_eq!(class(0), "none");
        assert_eq!(class(99), "none");
        assert_eq!(class(101), "1xx");
        assert_eq!(class(204), "2xx");
        assert_eq!(class(599), "5xx");
        assert_eq!(class(600), "none");
    }
}
