//! The clock of deadlines. A thread advances the engine's epoch every millisecond while policies run; a
//! call looks at its time when it sees the next one. It sleeps while nothing runs, and ends with the last host.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmtime::Engine;

/// Length of an epoch.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Quiet epochs after which the thread goes to sleep. Waking it costs a system call, so it does not
/// sleep between the requests of a busy moment.
const QUIET_TICKS: u32 = 100;

/// The epochs that begin within a time that begins with one.
pub(crate) fn epochs(deadline: Duration) -> u64 {
    let whole = deadline.as_micros().div_ceil(TICK.as_micros());
    u64::try_from(whole).unwrap_or(u64::MAX)
}

/// Owns the thread.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    stop: AtomicBool,
    asleep: AtomicBool,
    watched: Mutex<Vec<Weak<Activity>>>,
}

/// Counts the steps of one worker: odd while a call runs. On a cache line of its own, since its
/// worker writes it with every call.
#[repr(align(128))]
struct Activity(AtomicU64);

/// One worker's side of the ticker.
pub(crate) struct Watch {
    activity: Arc<Activity>,
    shared: Arc<Shared>,
    thread: Thread,
}

impl Ticker {
    pub(crate) fn start(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            watched: Mutex::default(),
        });
        let thread = std::thread::Builder::new().name("penstock-epochs".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(&engine)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub(crate) fn watch(&self) -> Watch {
        let activity = Arc::new(Activity(AtomicU64::new(0)));
        let mut watched = self.shared.watched.lock();
        watched.retain(|known| known.strong_count() > 0);
        watched.push(Arc::downgrade(&activity));
        drop(watched);
        let thread = self.thread.as_ref().map_or_else(std::thread::current, |t| t.thread().clone());
        Watch { activity, shared: Arc::clone(&self.shared), thread }
    }

    /// Whether the thread sleeps because nothing runs.
    pub(crate) fn is_asleep(&self) -> bool {
        self.shared.asleep.load(Ordering::SeqCst)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread has no way to panic that would matter here: it is going away either way.
            let _ = thread.join();
        }
    }
}

impl Watch {
    /// Runs a call under the ticker's eyes.
    pub(crate) fn during<R>(&self, call: impl FnOnce() -> R) -> R {
        let count = self.activity.0.load(Ordering::Relaxed);
        // Either the thread sees this store before it sleeps, or this load sees that it sleeps:
        // both are sequentially consistent.
        self.activity.0.store(count + 1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        let result = call();
        self.activity.0.store(count + 2, Ordering::Release);
        result
    }
}

impl Shared {
    fn run(&self, engine: &Engine) {
        let mut seen = 0;
        let mut quiet = 0;
        let mut next = Instant::now() + TICK;
        while !self.stop.load(Ordering::SeqCst) {
            engine.increment_epoch();
            let (sum, running) = self.look();
            quiet = if running || sum != seen { 0 } else { quiet + 1 };
            seen = sum;
            if quiet >= QUIET_TICKS {
                self.sleep(seen);
                quiet = 0;
                next = Instant::now();
            }
            let now = Instant::now();
            next = if next + TICK > now { next + TICK } else { now + TICK };
            std::thread::sleep(next.saturating_duration_since(now));
        }
    }

    /// Sleeps until a call begins.
    fn sleep(&self, seen: u64) {
        self.asleep.store(true, Ordering::SeqCst);
        while !self.stop.load(Ordering::SeqCst) && self.look() == (seen, false) {
            std::thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// A sum that changes with every call, and whether one runs now.
    fn look(&self) -> (u64, bool) {
        let watched = self.watched.lock();
        let counts = watched.iter().filter_map(Weak::upgrade);
        counts
            .map(|activity| activity.0.load(Ordering::SeqCst))
            .fold((0, false), |(sum, on), n| (sum + n, on || n % 2 == 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(mut condition: impl FnMut() -> bool) -> bool {
        (0..5000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            condition()
        })
    }

    #[test]
    fn a_part_of_an_epoch_counts_as_one() {
        for (micros, ticks) in [(1, 1), (999, 1), (1000, 1), (1001, 2), (5000, 5)] {
            assert_eq!(epochs(Duration::from_micros(micros)), ticks, "{micros} µs");
        }
    }

    #[test]
    fn the_thread_sleeps_while_nothing_runs_and_wakes_for_a_call() {
        let ticker = Ticker::start(Engine::default()).expect("a thread");
        let watch = ticker.watch();
        assert!(until(|| ticker.is_asleep()), "idle");
        watch.during(|| assert!(until(|| !ticker.is_asleep()), "a call runs"));
        assert!(until(|| ticker.is_asleep()), "idle again");
    }

    #[test]
    fn the_thread_ends_with_its_owner_also_while_asleep() {
        let ticker = Ticker::start(Engine::default()).expect("a thread");
        assert!(until(|| ticker.is_asleep()));
        let shared = Arc::downgrade(&ticker.shared);
        drop(ticker);
        assert!(shared.upgrade().is_none(), "the thread has dropped its share");
    }
}
