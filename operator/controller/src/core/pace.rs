//! How often one object may be written.

use std::{collections::BTreeMap, time::Duration};

/// Writes that are free at once, after a quiet time.
const BURST: u32 = 5;
/// Wait before the first write beyond the burst; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait: the pace of an object that changes all the time.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Quiet time after which an object is as if it had never been written.
const FORGET: Duration = Duration::from_secs(10);

/// Keeps objects that change all the time (a Gateway to which a thousand routes attach) from being
/// written all the time, and failed writes from being repeated all the time.
#[derive(Debug)]
pub(crate) struct Pace<K> {
    written: BTreeMap<K, Written>,
}

#[derive(Debug)]
struct Written {
    in_a_row: u32,
    last: Duration,
}

impl<K> Default for Pace<K> {
    fn default() -> Self {
        Self { written: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Pace<K> {
    /// Counts a write at this time.
    ///
    /// # Errors
    /// When it is too early: the time at which it may be written. Nothing is counted then.
    pub(crate) fn write(&mut self, key: &K, now: Duration) -> Result<(), Duration> {
        let written = self.written.entry(key.clone()).or_insert(Written { in_a_row: 0, last: now });
        if now.saturating_sub(written.last) >= FORGET {
            written.in_a_row = 0;
        }
        let due = written.last + wait(written.in_a_row);
        if now < due {
            return Err(due);
        }
        written.in_a_row = written.in_a_row.saturating_add(1);
        written.last = now;
        Ok(())
    }

    /// Counts a failure: the next write waits as if the burst were used up.
    pub(crate) fn failed(&mut self, key: &K) {
        if let Some(written) = self.written.get_mut(key) {
            written.in_a_row = written.in_a_row.max(BURST) + 1;
        }
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&mut self, key: &K) {
        self.written.remove(key);
    }
}

/// The wait before a write, by the writes in a row before it.
fn wait(in_a_row: u32) -> Duration {
    match in_a_row.checked_sub(BURST) {
        None => Duration::ZERO,
        Some(beyond) => FIRST_WAIT.saturating_mul(1 << beyond.min(10)).min(LONGEST_WAIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_few_writes_are_free_and_then_each_waits_longer() {
        let mut pace = Pace::default();
        for _ in 0..BURST {
            assert_eq!(pace.write(&"a", Duration::ZERO), Ok(()));
        }
        assert_eq!(pace.write(&"a", Duration::ZERO), Err(100 * MS));
        assert_eq!(pace.write(&"b", Duration::ZERO), Ok(()), "another object has its own pace");
        assert_eq!(pace.write(&"a", 100 * MS), Ok(()));
        assert_eq!(pace.write(&"a", 100 * MS), Err(300 * MS));
    }

    #[test]
    fn a_thousand_changes_in_a_minute_are_at_most_fifty_writes() {
        let mut pace = Pace::default();
        let writes = (0..1000).filter(|n| pace.write(&"gateway", 60 * MS * *n).is_ok()).count();
        assert!((20..=50).contains(&writes), "{writes}");
    }

    #[test]
    fn a_quiet_time_forgets_and_so_does_the_end_of_the_object() {
        let mut pace = Pace::default();
        (0..BURST).for_each(|_| assert_eq!(pace.write(&"a", Duration::ZERO), Ok(())));
        assert_eq!(pace.write(&"a", FORGET), Ok(()));
        assert_eq!(pace.write(&"a", FORGET), Ok(()), "the burst is there again");
        pace.forget(&"a");
        (0..BURST).for_each(|_| assert_eq!(pace.write(&"a", FORGET), Ok(())));
    }

    #[test]
    fn a_failure_uses_up_the_burst() {
        let mut pace = Pace::default();
        assert_eq!(pace.write(&"a", Duration::ZERO), Ok(()));
        pace.failed(&"a");
        assert_eq!(pace.write(&"a", Duration::ZERO), Err(200 * MS));
    }
}
