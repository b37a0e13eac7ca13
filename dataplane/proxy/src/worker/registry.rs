//! The client connections of a worker, and when they end.

use super::{Clock, ticks};
use penstock_config::Version;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Waker},
    time::Duration,
};

/// How a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// Not yet.
    Open,
    /// After the requests it has: `connection: close`, GOAWAY.
    Drain,
    /// Now.
    Kill(&'static str),
}

/// What is seen of a connection's bytes. It moves with the connection into hyper, which wants it
/// `Send`; all of it is used on one thread.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Tick at which the head now coming began; 0 is none. Counted from 1.
    head_since: AtomicU32,
    /// Tick since which the client does not take bytes; 0 is none. Counted from 1.
    stuck_since: AtomicU32,
    /// Number of the first request whose length is ambiguous, counted from 1; 0 is none.
    ambiguous: AtomicU64,
    /// Whether the connection is no longer HTTP.
    tunnel: AtomicBool,
}

impl Pulse {
    /// A head begins, or none is coming.
    pub fn head(&self, tick: Option<u32>) {
        self.head_since.store(tick.map_or(0, |tick| tick.wrapping_add(1)), Relaxed);
    }

    /// Whether a head is coming.
    pub fn in_head(&self) -> bool {
        self.head_since.load(Relaxed) != 0
    }

    /// The client does not take bytes, or does.
    pub fn stuck(&self, tick: Option<u32>) {
        match tick {
            None => self.stuck_since.store(0, Relaxed),
            Some(tick) if self.stuck_since.load(Relaxed) == 0 => {
                self.stuck_since.store(tick.wrapping_add(1), Relaxed);
            }
            Some(_) => {}
        }
    }

    /// The length of this request is ambiguous.
    pub fn ambiguous(&self, request: u64) {
        let _ = self.ambiguous.compare_exchange(0, request, Relaxed, Relaxed);
    }

    /// Whether the length of this request is ambiguous.
    pub fn is_ambiguous(&self, request: u64) -> bool {
        let first = self.ambiguous.load(Relaxed);
        first != 0 && first <= request
    }

    /// The connection is no longer HTTP: what follows are somebody else's bytes.
    pub fn tunnel(&self) {
        self.tunnel.store(true, Relaxed);
    }

    /// Whether the connection is no longer HTTP.
    pub fn is_tunnel(&self) -> bool {
        self.tunnel.load(Relaxed)
    }
}

/// TLS policies, each in the version that judged a handshake.
type Judges = Arc<[(String, Version)]>;

/// One connection.
#[derive(Debug)]
pub struct ConnectionState {
    /// What is seen of its bytes.
    pub pulse: Arc<Pulse>,
    port: u32,
    limits: Cell<Limits>,
    clock: Rc<Clock>,
    active: Cell<u32>,
    /// Bodies of which the client has not taken what was handed on.
    untaken: Cell<u32>,
    /// Tick at which the client last took a part of any body.
    taken_at: Cell<u32>,
    /// Tick since which no request is active.
    idle_since: Cell<u32>,
    ending: Cell<Ending>,
    judges: RefCell<Judges>,
    waker: RefCell<Option<Waker>>,
}

/// Limits in ticks.
#[derive(Clone, Copy, Debug)]
struct Limits {
    header: u32,
    idle: u32,
    body: u32,
}

impl ConnectionState {
    /// A request begins.
    #[inline]
    pub fn begin(&self) {
        self.active.set(self.active.get() + 1);
    }

    /// A request ended.
    #[inline]
    pub fn end(&self) {
        self.active.set(self.active.get() - 1);
        self.idle_since.set(self.clock.now());
    }

    /// A part of a body was handed on; the client has not taken it yet.
    #[inline]
    pub fn hand_on(&self) {
        self.untaken.set(self.untaken.get() + 1);
        self.taken_at.set(self.clock.now());
    }

    /// The client took it, or the body ended.
    #[inline]
    pub fn taken(&self) {
        self.untaken.set(self.untaken.get() - 1);
        self.taken_at.set(self.clock.now());
    }

    /// How it is to end; the task of `context` is told when that changes.
    #[inline]
    pub fn poll_ending(&self, context: &Context<'_>) -> Ending {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        self.ending.get()
    }

    /// How it is to end.
    pub fn ending(&self) -> Ending {
        self.ending.get()
    }

    /// Ends it so, unless it ends harder already.
    pub fn finish(&self, ending: Ending) {
        if self.ending.get() < ending {
            self.ending.set(ending);
            if let Some(waker) = self.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    /// These policies let it in.
    pub fn judged_by(&self, judges: Judges) {
        *self.judges.borrow_mut() = judges;
    }

    /// Drains it where one of the policies that let it in is no longer in force in that version:
    /// its requests would be answered 421 from now on.
    pub fn drain_outdated(&self, current: impl Fn(&str) -> Option<Version>) {
        if self.judges.borrow().iter().any(|(policy, judged)| current(policy) != Some(*judged)) {
            self.finish(Ending::Drain);
        }
    }

    fn look(&self, now: u32) {
        let limits = self.limits.get();
        let since = |counted: u32, limit: u32| {
            counted != 0 && now.wrapping_sub(counted.wrapping_sub(1)) > limit
        };
        // An HTTP/2 client can also stop by giving a stream no room.
        let untaken = self.untaken.get() > 0 && now.wrapping_sub(self.taken_at.get()) > limits.body;
        if untaken || since(self.pulse.stuck_since.load(Relaxed), limits.body) {
            self.finish(Ending::Kill("client-stuck"));
        }
        if self.active.get() > 0 {
            return;
        }
        let idle = now.wrapping_sub(self.idle_since.get());
        let head = self.pulse.head_since.load(Relaxed);
        // A head that came in while a request was served waits for the client only after it.
        if since(head, limits.header) && idle > limits.header {
            self.finish(Ending::Kill("header-timeout"));
        } else if head == 0 && idle > limits.idle {
            self.finish(Ending::Drain);
        }
    }
}

/// The connections of a worker.
#[derive(Debug, Default)]
pub struct Registry(RefCell<Vec<Rc<ConnectionState>>>);

impl Registry {
    /// A new connection of a port. It is forgotten when its task drops it.
    pub fn add(
        &self,
        clock: &Rc<Clock>,
        port: u32,
        header: Duration,
        idle: Duration,
        body: Duration,
    ) -> Rc<ConnectionState> {
        let limits = Limits { header: ticks(header), idle: ticks(idle), body: ticks(body) };
        let state = Rc::new(ConnectionState {
            pulse: Arc::default(),
            port,
            limits: Cell::new(limits),
            clock: clock.clone(),
            active: Cell::new(0),
            untaken: Cell::new(0),
            taken_at: Cell::new(clock.now()),
            idle_since: Cell::new(clock.now()),
            ending: Cell::new(Ending::Open),
            judges: RefCell::default(),
            waker: RefCell::new(None),
        });
        self.0.borrow_mut().push(state.clone());
        state
    }

    /// Looks for connections that took too long.
    pub fn tick(&self, now: u32) {
        self.0.borrow_mut().retain(|state| {
            state.look(now);
            Rc::strong_count(state) > 1
        });
    }

    /// Ends the connections of a port, or of all ports.
    pub fn finish(&self, port: Option<u32>, ending: Ending) {
        for state in self.0.borrow().iter() {
            if port.is_none_or(|port| port == state.port) {
                state.finish(ending);
            }
        }
    }

    /// [`ConnectionState::drain_outdated`] for all.
    pub fn drain_outdated(&self, current: impl Fn(&str) -> Option<Version>) {
        for state in self.0.borrow().iter() {
            state.drain_outdated(&current);
        }
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.0.borrow().iter().filter(|state| Rc::strong_count(state) > 1).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::TICK;

    fn connection(registry: &Registry, clock: &Rc<Clock>) -> Rc<ConnectionState> {
        registry.add(clock, 80, TICK * 2, TICK * 5, TICK * 3)
    }

    fn later(registry: &Registry, clock: &Clock, times: u32) {
        for _ in 0..times {
            clock.tick();
            registry.tick(clock.now());
        }
    }

    #[test]
    fn a_connection_without_a_request_is_drained_after_the_idle_timeout() {
        let (registry, clock) = (Registry::default(), Rc::new(Clock::default()));
        let state = connection(&registry, &clock);
        later(&registry, &clock, 5);
        assert_eq!(state.ending(), Ending::Open);
        later(&registry, &clock, 1);
        assert_eq!(state.ending(), Ending::Drain);
        drop(state);
        later(&registry, &clock, 1);
        assert_eq!(registry.open(), 0);
    }

    #[test]
    fn a_head_that_does_not_end_kills_the_connection() {
        let (registry, clock) = (Registry::default(), Rc::new(Clock::default()));
        let state = connection(&registry, &clock);
        state.pulse.head(Some(clock.now()));
        later(&registry, &clock, 2);
        assert_eq!(state.ending(), Ending::Open);
        later(&registry, &clock, 1);
        assert_eq!(state.ending(), Ending::Kill("header-timeout"));
    }

    #[test]
    fn a_request_in_progress_keeps_the_connection_and_a_stuck_client_does_not() {
        let (registry, clock) = (Registry::default(), Rc::new(Clock::default()));
        let state = connection(&registry, &clock);
        state.begin();
        later(&registry, &clock, 20);
        assert_eq!(state.ending(), Ending::Open);
        state.pulse.stuck(Some(clock.now()));
        later(&registry, &clock, 4);
        assert_eq!(state.ending(), Ending::Kill("client-stuck"));
    }

    #[test]
    fn a_client_that_takes_nothing_of_any_body_is_cut_off() {
        let (registry, clock) = (Registry::default(), Rc::new(Clock::default()));
        let state = connection(&registry, &clock);
        state.begin();
        state.hand_on();
        state.hand_on();
        later(&registry, &clock, 3);
        state.taken();
        later(&registry, &clock, 3);
        assert_eq!(state.ending(), Ending::Open, "one of two goes on");
        later(&registry, &clock, 1);
        assert_eq!(state.ending(), Ending::Kill("client-stuck"));
    }

    #[test]
    fn decision_7_a_connection_that_an_old_version_let_in_is_drained() {
        let (registry, clock) = (Registry::default(), Rc::new(Clock::default()));
        let [plain, judged, other] = [(); 3].map(|()| connection(&registry, &clock));
        let [old, new] = [Version([1; 16]), Version([2; 16])];
        judged.judged_by([("ns/p".to_owned(), old)].into());
        other.judged_by([("ns/q".to_owned(), old)].into());
        registry.drain_outdated(|_| Some(old));
        assert_eq!(judged.ending(), Ending::Open, "nothing changed");
        registry.drain_outdated(|policy| Some(if policy == "ns/p" { new } else { old }));
        let endings = [plain, judged, other].map(|state| state.ending());
        assert_eq!(endings, [Ending::Open, Ending::Drain, Ending::Open]);
    }

    #[test]
    fn from_the_first_ambiguous_request_on_all_are() {
        let pulse = Pulse::default();
        assert!(!pulse.is_ambiguous(1));
        pulse.ambiguous(2);
        pulse.ambiguous(3);
        assert!(!pulse.is_ambiguous(1));
        assert!(pulse.is_ambiguous(2) && pulse.is_ambiguous(3));
    }
}
