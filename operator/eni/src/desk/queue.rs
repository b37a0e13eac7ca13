//! Calls that wait for their budget, in the order in which they came.

use super::Effect;
use crate::{budget::Budget, time::Time};
use std::collections::{BTreeMap, VecDeque};

/// Calls that wait, by name: one that EC2 throttles holds no other up.
#[derive(Debug, Default)]
pub struct Queue {
    budget: Budget,
    waiting: BTreeMap<&'static str, Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    calls: VecDeque<Effect>,
    /// When the first of them may be made.
    due: Time,
}

impl Queue {
    /// Calls of a name for each second, as learnt from EC2's refusals.
    pub fn rate(&self, name: &str) -> f64 {
        self.budget.rate(name)
    }

    /// How many calls wait, by name.
    pub fn waiting(&self) -> impl Iterator<Item = (&'static str, usize)> + '_ {
        self.waiting.iter().map(|(name, waiting)| (*name, waiting.calls.len()))
    }

    pub(super) fn push(&mut self, effect: Effect) {
        if let Some(name) = effect.call() {
            self.waiting.entry(name).or_default().calls.push_back(effect);
        }
    }

    /// Those that may be made now.
    pub(super) fn take(&mut self, now: Time) -> Vec<Effect> {
        let mut ready = Vec::new();
        for (name, waiting) in &mut self.waiting {
            while waiting.due <= now && !waiting.calls.is_empty() {
                match self.budget.take(name, now) {
                    Ok(()) => ready.extend(waiting.calls.pop_front()),
                    Err(due) => waiting.due = due,
                }
            }
        }
        ready
    }

    pub(super) fn throttled(&mut self, name: &'static str, now: Time) {
        self.budget.throttled(name, now);
    }

    /// When one may be made that waits now.
    pub(super) fn due(&self) -> Option<Time> {
        let waiting = self.waiting.values().filter(|waiting| !waiting.calls.is_empty());
        waiting.map(|waiting| waiting.due).min()
    }
}
