//! One coarse clock for each worker.
//!
//! Timeouts of connections and bodies need no precision, and a timer for each would cost every
//! request. So whoever waits leaves a [`Watch`], and a task looks at all of them on each tick.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Waker},
    time::Duration,
};

/// Length of a tick: the precision of timeouts.
pub const TICK: Duration = Duration::from_millis(100);

/// Ticks, at least one, that a duration takes.
pub fn ticks(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u32::MAX).max(1)
}

/// The clock of a worker.
#[derive(Debug, Default)]
pub struct Clock {
    now: Arc<AtomicU32>,
    watches: RefCell<Vec<Rc<Watch>>>,
}

/// Somebody who waits.
#[derive(Debug)]
pub struct Watch {
    /// Tick since which, when waiting.
    since: Cell<Option<u32>>,
    limit: u32,
    fired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Clock {
    /// The current tick.
    #[inline]
    pub fn now(&self) -> u32 {
        self.now.load(Relaxed)
    }

    /// The tick as others can read it. Only the worker's own thread writes.
    pub fn shared(&self) -> Arc<AtomicU32> {
        self.now.clone()
    }

    /// A watch that fires when somebody waits longer than `limit`. It ends when it is dropped.
    pub fn watch(&self, limit: Duration) -> Rc<Watch> {
        let watch = Rc::new(Watch {
            since: Cell::new(None),
            limit: ticks(limit),
            fired: Cell::new(false),
            waker: RefCell::new(None),
        });
        self.watches.borrow_mut().push(watch.clone());
        watch
    }

    /// One tick later.
    pub fn tick(&self) {
        let now = self.now().wrapping_add(1);
        self.now.store(now, Relaxed);
        self.watches.borrow_mut().retain(|watch| {
            watch.look(now);
            Rc::strong_count(watch) > 1
        });
    }
}

impl Watch {
    /// Waits from now on, unless it waits already; whether that has taken too long.
    pub fn wait(&self, now: u32, context: &Context<'_>) -> bool {
        if self.since.get().is_none() {
            self.since.set(Some(now));
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        self.fired.get()
    }

    /// There was progress.
    pub fn progress(&self) {
        self.since.set(None);
    }

    fn look(&self, now: u32) {
        let late = self.since.get().is_some_and(|since| now.wrapping_sub(since) > self.limit);
        if late
            && !self.fired.replace(true)
            && let Some(waker) = self.waker.borrow_mut().take()
        {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_fires_after_its_limit_without_progress() {
        let clock = Clock::default();
        let watch = clock.watch(TICK * 2);
        let context = Context::from_waker(Waker::noop());
        assert!(!watch.wait(clock.now(), &context));
        clock.tick();
        clock.tick();
        watch.progress();
        assert!(!watch.wait(clock.now(), &context));
        clock.tick();
        clock.tick();
        assert!(!watch.wait(clock.now(), &context));
        clock.tick();
        assert!(watch.wait(clock.now(), &context));
    }

    #[test]
    fn a_dropped_watch_is_forgotten() {
        let clock = Clock::default();
        drop(clock.watch(TICK));
        clock.tick();
        assert!(clock.watches.borrow().is_empty());
    }

    #[test]
    fn durations_are_rounded_up_to_ticks() {
        assert_eq!(ticks(Duration::ZERO), 1);
        assert_eq!(ticks(Duration::from_millis(101)), 2);
        assert_eq!(ticks(Duration::MAX), u32::MAX);
    }
}
