//! The time.

use crate::core::Now;
use jiff::Timestamp;
use std::time::Instant;

/// Reads the time. Copies count from the same start.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time.
    pub fn now(&self) -> Now {
        Now { wall: Timestamp::now(), since_start: self.0.elapsed() }
    }
}
