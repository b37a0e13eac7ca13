//! How many calls may be made.
//!
//! EC2 throttles each action of an account and region by a token bucket of its own ("Request throttling
//! for the Amazon EC2 API"), shared with everybody else in the account, so that its fill is not known.
//! Each action has a bucket here whose rate is halved when EC2 throttles, and grows back slowly while
//! it does not. A throttled action stops no other one, and no node stops another: what waits is served
//! in the order in which it came.

use crate::time::Time;
use std::{collections::BTreeMap, time::Duration};

/// What a bucket begins with, and grows back to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Calls for each second.
    pub each_second: f64,
    /// Calls at once after a rest.
    pub burst: f64,
}

impl Rate {
    /// Of calls that change something.
    pub const CHANGES: Self = Self { each_second: 5.0, burst: 20.0 };
    /// Of calls that only look.
    pub const LOOKS: Self = Self { each_second: 10.0, burst: 40.0 };
    /// Calls for each second that remain however often EC2 throttles.
    const LEAST: f64 = 0.1;

    pub(crate) fn of(action: &str) -> Self {
        if action.starts_with("Describe") { Self::LOOKS } else { Self::CHANGES }
    }
}

/// The buckets of all actions.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    buckets: BTreeMap<&'static str, Bucket>,
}

#[derive(Clone, Debug)]
struct Bucket {
    full: Rate,
    each_second: f64,
    tokens: f64,
    at: Time,
    /// When EC2 throttled last: one burst of refusals counts once.
    throttled: Option<Time>,
}

/// In which time several refusals are one sign.
const ONE_SIGN: Duration = Duration::from_secs(1);

/// Part of the full rate that comes back in each second without a refusal.
const RECOVERY: f64 = 0.02;

impl Budget {
    /// Takes a token for an action.
    ///
    /// # Errors
    /// The time at which there will be one, if nobody else takes it.
    pub fn take(&mut self, action: &'static str, now: Time) -> Result<(), Time> {
        let bucket = self.bucket(action, now);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - bucket.tokens) / bucket.each_second;
        Err(now + Duration::from_secs_f64(wait) + Duration::from_millis(1))
    }

    /// EC2 throttled an action: it has fewer tokens than was thought.
    pub fn throttled(&mut self, action: &'static str, now: Time) {
        let bucket = self.bucket(action, now);
        bucket.tokens = bucket.tokens.min(0.0);
        if bucket.throttled.is_none_or(|before| now - before >= ONE_SIGN) {
            bucket.throttled = Some(now);
            bucket.each_second = (bucket.each_second / 2.0).max(Rate::LEAST);
        }
    }

    /// Calls of an action for each second, as learnt.
    pub fn rate(&self, action: &str) -> f64 {
        self.buckets.get(action).map_or_else(|| Rate::of(action).each_second, |b| b.each_second)
    }

    fn bucket(&mut self, action: &'static str, now: Time) -> &mut Bucket {
        let full = Rate::of(action);
        let bucket = self.buckets.entry(action).or_insert(Bucket {
            full,
            each_second: full.each_second,
            tokens: full.burst,
            at: now,
            throttled: None,
        });
        bucket.refill(now);
        bucket
    }
}

impl Bucket {
    fn refill(&mut self, now: Time) {
        let past = (now - self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.tokens = (self.tokens + past * self.each_second).min(self.full.burst);
        let grown = self.each_second + past * self.full.each_second * RECOVERY;
        self.each_second = grown.min(self.full.each_second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASSIGN: &str = "AssignPrivateIpAddresses";

    fn at(millis: u64) -> Time {
        Time(1_000_000 + millis)
    }

    /// How many calls are let through in a time, where one is tried each millisecond.
    fn passed(budget: &mut Budget, from: u64, to: u64) -> u64 {
        (from..to).filter(|millis| budget.take(ASSIGN, at(*millis)).is_ok()).count() as u64
    }

    #[test]
    fn a_burst_passes_at_once_and_then_the_rate() {
        let mut budget = Budget::default();
        assert_eq!(passed(&mut budget, 0, 20), 20);
        let next = budget.take(ASSIGN, at(20)).unwrap_err();
        assert!(next > at(100) && next < at(220), "{next:?}");
        assert_eq!(passed(&mut budget, 20, 10_000), 49);
        assert!(budget.take("DescribeNetworkInterfaces", at(10_000)).is_ok(), "others do not wait");
    }

    #[test]
    fn what_is_throttled_slows_down_once_for_each_second_and_comes_back() {
        let mut budget = Budget::default();
        budget.take(ASSIGN, at(0)).unwrap();
        for _ in 0..10 {
            budget.throttled(ASSIGN, at(0));
        }
        assert!((budget.rate(ASSIGN) - 2.5).abs() < 0.01);
        budget.throttled(ASSIGN, at(1_000));
        assert!(budget.rate(ASSIGN) < 1.4);
        assert!(budget.take(ASSIGN, at(1_000)).is_err(), "it has none left");
        for second in 2..100 {
            budget.throttled(ASSIGN, at(second * 1000));
        }
        assert!(budget.rate(ASSIGN) >= Rate::LEAST, "it never stops");
        budget.take(ASSIGN, at(200_000)).unwrap();
        assert!((budget.rate(ASSIGN) - 5.0).abs() < 0.01);
    }
}
