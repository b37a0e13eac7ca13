//! Whether a worker still turns.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// A worker that has not beaten for longer is stuck: it beats with each tick, ten times a second,
/// and no policy may run for more than a second.
const STUCK: Duration = Duration::from_secs(5);

/// One worker's: it beats, others look.
#[derive(Debug)]
pub struct Heartbeat {
    began: Instant,
    /// Milliseconds from the beginning to the last beat.
    last: AtomicU64,
}

impl Heartbeat {
    /// The first beat.
    pub fn start(now: Instant) -> Self {
        Self { began: now, last: AtomicU64::new(0) }
    }

    /// The worker turns.
    pub fn beat(&self, now: Instant) {
        self.last.store(self.since_began(now), Relaxed);
    }

    /// For how long the worker has been stuck; `None` where it is not.
    pub fn stuck(&self, now: Instant) -> Option<Duration> {
        let silent = self.since_began(now).saturating_sub(self.last.load(Relaxed));
        Some(Duration::from_millis(silent)).filter(|silent| *silent > STUCK)
    }

    fn since_began(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.began);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_is_silent_for_more_than_five_seconds_is_stuck() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let heartbeat = Heartbeat::start(began);
        assert_eq!(heartbeat.stuck(at(5000)), None);
        assert_eq!(heartbeat.stuck(at(5001)), Some(Duration::from_millis(5001)));
        heartbeat.beat(at(5100));
        assert_eq!(heartbeat.stuck(at(10_100)), None);
        assert_eq!(heartbeat.stuck(at(10_101)), Some(Duration::from_millis(5001)));
        assert_eq!(heartbeat.stuck(began), None, "a look that comes late");
    }
}
