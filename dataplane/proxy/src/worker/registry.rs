//! The client connections of a worker, and when they end.

use super::{Clock, ticks};
use crate::tls::TlsSession;
use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Waker},
    time::Duration,
};

/// The head of a request did not come in time.
const HEADER_TIMEOUT: &str = "header-timeout";

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

    /// Whether the client does not take bytes.
    pub fn is_stuck(&self) -> bool {
        self.stuck_since.load(Relaxed) != 0
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

/// How long the next request of a connection that is to be drained is waited for.
const FRESH: Duration = Duration::from_secs(2);

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
    /// No request has begun yet.
    fresh: Cell<bool>,
    /// Requests share it, and the protocol says which of them are served after all (HTTP/2).
    multiplexed: Cell<bool>,
    /// To be drained once its next request has begun, or when none has come.
    put_off: Cell<bool>,
    session: OnceCell<Rc<TlsSession>>,
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
    /// The serving port that it came to.
    pub fn serving_port(&self) -> u32 {
        self.port
    }

    /// A request begins.
    #[inline]
    pub fn begin(&self) {
        self.active.set(self.active.get() + 1);
        self.fresh.set(false);
        if self.put_off.take() {
            self.end_by(Ending::Drain);
        }
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
    ///
    /// A drain waits for the next request where none is being served and the protocol cannot say that
    /// one on its way will not be (HTTP/1.1, or a new connection): its client has sent it, or is about
    /// to, and cannot know that nobody will read it. The answer says `connection: close`. Who has sent
    /// none for two seconds is not waited for.
    pub fn finish(&self, ending: Ending) {
        let idle = self.active.get() == 0 && !self.multiplexed.get();
        match ending {
            Ending::Drain if idle || self.fresh.get() => self.put_off.set(true),
            ending => self.end_by(ending),
        }
    }

    /// Notes that it is HTTP/2.
    pub fn set_multiplexed(&self) {
        self.multiplexed.set(true);
    }

    fn end_by(&self, ending: Ending) {
        if self.ending.get() < ending {
            self.ending.set(ending);
            if let Some(waker) = self.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    /// Whether it is ended because the head of a request did not come in time, and the client can be
    /// told: everything before has been sent.
    pub fn is_late_head(&self) -> bool {
        self.ending.get() == Ending::Kill(HEADER_TIMEOUT) && !self.pulse.is_stuck()
    }

    /// This handshake let it in: the only one that it has.
    pub fn let_in_by(&self, session: Rc<TlsSession>) {
        let _ = self.session.set(session);
    }

    /// Drains it where the handshake that let it in on its port no longer counts: its requests would
    /// be answered 421 from now on.
    pub fn drain_outdated(&self, admits: impl Fn(u32, &TlsSession) -> bool) {
        if self.session.get().is_some_and(|session| !admits(self.port, session)) {
            self.end_by(Ending::Drain);
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
            self.end_by(Ending::Kill("client-stuck"));
        }
        if self.active.get() > 0 {
            return;
        }
        let idle = now.wrapping_sub(self.idle_since.get());
        let head = self.pulse.head_since.load(Relaxed);
        if self.put_off.get() && head == 0 && idle > ticks(FRESH) {
            self.end_by(Ending::Drain);
        }
        // A head that came in while a request was served waits for the client only after it.
        if since(head, limits.header) && idle > limits.header {
            self.end_by(Ending::Kill(HEADER_TIMEOUT));
        } else if head == 0 && idle > limits.idle {
            self.end_by(Ending::Drain);
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
            fresh: Cell::new(true),
            multiplexed: Cell::new(false),
            put_off: Cell::new(false),
            session: OnceCell::new(),
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
    pub fn drain_outdated(&self, admits: impl Fn(u32, &TlsSession) -> bool) {
        for state in self.0.borrow().iter() {
            state.drain_outdated(&admits);
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
    fn a_drain_waits_for_the_next_request_and_not_for_ever() {
        let (registry, clock) = (Registry::default(), Rc::new(Clock::default()));
        let [asks, silent, used, busy, http2] = [(); 5].map(|()| connection(&registry, &clock));
        used.begin();
        used.end();
        busy.begin();
        http2.set_multiplexed();
        http2.begin();
        http2.end();
        registry.finish(None, Drain);
        let endings = || [&asks, &silent, &used, &busy, &http2].map(|state| state.ending());
        use Ending::{Drain, Open};
        assert_eq!(endings(), [Open, Open, Open, Drain, Drain]);
        asks.begin();
        used.begin();
        assert_eq!(endings(), [Drain, Open, Drain, Drain, Drain]);
        later(&registry, &clock, ticks(FRESH) + 1);
        assert_eq!(silent.ending(), Drain);
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
    fn decision_7_a_connection_whose_handshake_no_longer_counts_is_drained() {
        let (registry, clock) = (Registry::default(), Rc::new(Clock::default()));
        let [plain, outdated, other] = [(); 3].map(|()| connection(&registry, &clock));
        let session = |name: &str| {
            Rc::new(TlsSession {
                listener: "ns/gw/https".into(),
                sni: Some(name.into()),
                alpn: None,
                version: "TLSv1.3",
                satisfied: Arc::new([]),
                skipped: 0,
                attributes: Arc::new([]),
                client_cert: None,
                resumed: false,
            })
        };
        outdated.let_in_by(session("a"));
        other.let_in_by(session("b"));
        registry.drain_outdated(|port, _| port == 80);
        assert_eq!(outdated.ending(), Ending::Open, "nothing changed");
        registry.drain_outdated(|_, session| session.sni.as_deref() != Some("a"));
        let endings = [plain, outdated, other].map(|state| state.ending());
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
