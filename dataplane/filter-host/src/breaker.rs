//! Quarantine: a filter that keeps losing its instances is not called for a while. Shared by all
//! workers; one relaxed load where all is well.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::engine::QuarantineConfig;

/// State of one version of one filter.
pub(crate) struct Breaker {
    config: QuarantineConfig,
    /// Whether calls need [`Breaker::admit_slowly`].
    tripped: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    failures: VecDeque<Instant>,
    open: Option<Open>,
    /// Pause of the last quarantine and when it ended: a filter that soon relapses pauses longer.
    last: Option<(Duration, Instant)>,
}

#[derive(Clone, Copy)]
struct Open {
    backoff: Duration,
    until: Instant,
    probing: bool,
}

/// Whether a call may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// As ever.
    Normal,
    /// Once, to see whether the filter has recovered.
    Probe,
    /// The filter is in quarantine.
    Refused,
}

impl Breaker {
    pub(crate) fn new(config: QuarantineConfig) -> Self {
        Self { config, tripped: AtomicBool::new(false), inner: Mutex::default() }
    }

    #[inline]
    pub(crate) fn admit(&self) -> Admission {
        match self.tripped.load(Ordering::Relaxed) {
            false => Admission::Normal,
            true => self.admit_slowly(Instant::now()),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.tripped.load(Ordering::Relaxed)
    }

    fn admit_slowly(&self, now: Instant) -> Admission {
        match &mut self.inner.lock().open {
            None => Admission::Normal,
            Some(open) if !open.probing && now >= open.until => {
                open.probing = true;
                Admission::Probe
            }
            Some(_) => Admission::Refused,
        }
    }

    /// A call that kept its instance. Only a probe's counts.
    pub(crate) fn succeeded(&self, admission: Admission, now: Instant) {
        if admission == Admission::Probe {
            let mut inner = self.inner.lock();
            inner.last = inner.open.take().map(|open| (open.backoff, now));
            inner.failures.clear();
            self.tripped.store(false, Ordering::Relaxed);
        }
    }

    /// A call that lost its instance. Returns whether the filter is quarantined by it.
    pub(crate) fn failed(&self, admission: Admission, now: Instant) -> bool {
        let mut inner = self.inner.lock();
        if let Some(open) = &mut inner.open {
            if admission == Admission::Probe {
                let backoff = (open.backoff * 2).min(self.config.max_backoff);
                *open = Open { backoff, until: now + backoff, probing: false };
            }
            return false;
        }
        let window = self.config.window;
        inner.failures.push_back(now);
        while inner.failures.front().is_some_and(|at| now.duration_since(*at) > window) {
            inner.failures.pop_front();
        }
        if inner.failures.len() < self.config.failures.max(1) as usize {
            return false;
        }
        let backoff = match inner.last {
            Some((last, ended)) if now.duration_since(ended) < self.config.max_backoff => {
                (last * 2).min(self.config.max_backoff)
            }
            _ => self.config.backoff,
        };
        inner.failures.clear();
        inner.open = Some(Open { backoff, until: now + backoff, probing: false });
        self.tripped.store(true, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn breaker() -> Breaker {
        Breaker::new(QuarantineConfig {
            failures: 3,
            window: 100 * MS,
            backoff: 10 * MS,
            max_backoff: 35 * MS,
        })
    }

    fn trip(breaker: &Breaker, at: Instant) {
        assert!(!breaker.failed(Admission::Normal, at));
        assert!(!breaker.failed(Admission::Normal, at));
        assert!(breaker.failed(Admission::Normal, at));
    }

    #[test]
    fn failures_spread_over_more_than_the_window_do_not_quarantine() {
        let (breaker, start) = (breaker(), Instant::now());
        for i in 0..20 {
            assert!(!breaker.failed(Admission::Normal, start + i * 51 * MS), "failure {i}");
        }
        assert_eq!(breaker.admit(), Admission::Normal);
    }

    #[test]
    fn one_probe_after_the_pause_then_recovery() {
        let (breaker, start) = (breaker(), Instant::now());
        trip(&breaker, start);
        assert_eq!(breaker.admit_slowly(start + 9 * MS), Admission::Refused);
        assert_eq!(breaker.admit_slowly(start + 10 * MS), Admission::Probe);
        assert_eq!(breaker.admit_slowly(start + 10 * MS), Admission::Refused, "one at a time");
        breaker.succeeded(Admission::Probe, start + 11 * MS);
        assert_eq!(breaker.admit(), Admission::Normal);
    }

    #[test]
    fn a_failed_probe_doubles_the_pause_up_to_its_limit() {
        let (breaker, start) = (breaker(), Instant::now());
        trip(&breaker, start);
        let mut at = start;
        for pause in [10, 20, 35, 35] {
            assert_eq!(breaker.admit_slowly(at + (pause - 1) * MS), Admission::Refused);
            at += pause * MS;
            assert_eq!(breaker.admit_slowly(at), Admission::Probe, "after {pause} ms");
            breaker.failed(Admission::Probe, at);
        }
    }

    #[test]
    fn a_relapse_pauses_longer_than_the_first_time() {
        let (breaker, start) = (breaker(), Instant::now());
        trip(&breaker, start);
        assert_eq!(breaker.admit_slowly(start + 10 * MS), Admission::Probe);
        breaker.succeeded(Admission::Probe, start + 10 * MS);
        trip(&breaker, start + 12 * MS);
        assert_eq!(breaker.admit_slowly(start + 31 * MS), Admission::Refused);
        assert_eq!(breaker.admit_slowly(start + 32 * MS), Admission::Probe);
    }

    #[test]
    fn late_results_of_ordinary_calls_do_not_end_a_quarantine() {
        let (breaker, start) = (breaker(), Instant::now());
        trip(&breaker, start);
        breaker.succeeded(Admission::Normal, start);
        assert!(!breaker.failed(Admission::Normal, start));
        assert_eq!(breaker.admit_slowly(start + MS), Admission::Refused);
    }
}
