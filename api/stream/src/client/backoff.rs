//! How long to wait before the next attempt.

use std::time::Duration;

/// Doubles up to a limit, and scatters: a thousand nodes that lost the same operator do not come back
/// in the same instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    first: Duration,
    limit: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit, next: first }
    }

    /// The next attempt is a first one again.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }

    /// How long to wait: between half and all of what is due.
    pub(super) fn wait(&mut self) -> Duration {
        let due = self.next;
        self.next = self.limit.min(due * 2);
        due.mul_f64(0.5 + fraction() / 2.0)
    }
}

/// Between 0 and 1.
fn fraction() -> f64 {
    // Without the system's random numbers nodes come back in step: worse, not wrong.
    f64::from(getrandom::u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_scatter_and_begin_anew() {
        let (first, limit) = (Duration::from_millis(100), Duration::from_millis(500));
        let mut backoff = Backoff::new(first, limit);
        for due in [100, 200, 400, 500, 500] {
            let wait = backoff.wait().as_millis();
            assert!((due / 2..=due).contains(&wait), "{wait} of {due}");
        }
        backoff.reset();
        assert!(backoff.wait() <= first);
        let waits: std::collections::BTreeSet<_> =
            (0..20).map(|_| Backoff::new(first, limit).wait()).collect();
        assert!(waits.len() > 10, "{waits:?}");
    }
}
