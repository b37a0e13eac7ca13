//! Endpoints and their connections.

use super::{RequestBody, Resolver};
use crate::{
    snapshot::Host,
    worker::{Clock, ticks},
};
use hashbrown::HashMap;
use hyper::client::conn::{http1, http2};
use penstock_config::BackendProtocol;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    net::SocketAddr,
    rc::Rc,
    task::Waker,
    time::Duration,
};

/// What a connection can be used for. Nothing else may tell two connections apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerKey {
    /// Address or name.
    pub host: Host,
    /// Port.
    pub port: u16,
    /// What it speaks.
    pub protocol: BackendProtocol,
}

/// How the pool behaves.
#[derive(Clone, Copy, Debug)]
pub struct PoolOptions {
    /// For a connection to be made.
    pub connect_timeout: Duration,
    /// After which an idle connection is closed.
    pub idle_timeout: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(5), idle_timeout: Duration::from_secs(60) }
    }
}

/// The endpoints that a worker knows.
#[derive(Debug)]
pub struct Pool {
    peers: RefCell<HashMap<PeerKey, Rc<Peer>>>,
    shared: Rc<PoolShared>,
}

/// What all peers of a pool use.
#[derive(Debug)]
pub(super) struct PoolShared {
    pub(super) options: PoolOptions,
    pub(super) clock: Rc<Clock>,
    pub(super) resolver: Resolver,
}

/// One endpoint.
#[derive(Debug)]
pub struct Peer {
    key: PeerKey,
    in_flight: Cell<u32>,
    idle: RefCell<VecDeque<Idle>>,
    pub(super) streams: RefCell<Vec<Rc<H2Connection>>>,
    /// Held while an HTTP/2 connection is made, so that those who wait share it.
    pub(super) dialling: tokio::sync::Mutex<()>,
    pub(super) shared: Rc<PoolShared>,
}

/// An HTTP/1.1 connection without a request.
#[derive(Debug)]
struct Idle {
    connection: H1Connection,
    since: u32,
}

/// An HTTP/1.1 connection.
#[derive(Debug)]
pub(super) struct H1Connection {
    pub(super) sender: http1::SendRequest<RequestBody>,
    pub(super) address: SocketAddr,
}

/// An HTTP/2 connection.
#[derive(Debug)]
pub(super) struct H2Connection {
    pub(super) sender: http2::SendRequest<RequestBody>,
    pub(super) address: SocketAddr,
    pub(super) in_flight: Cell<u32>,
    streams: Rc<Streams>,
    idle_since: Cell<u32>,
}

/// Streams that an HTTP/2 endpoint allows. hyper says so to whoever drives the connection, and only
/// when that is polled.
#[derive(Debug)]
pub(super) struct Streams {
    most: Cell<usize>,
    pub(super) driver: RefCell<Option<Waker>>,
    known: Cell<bool>,
}

impl Streams {
    /// Streams of a new connection, whose settings are not known yet: so many requests may wait for
    /// them on it.
    pub(super) fn new(most: usize) -> Self {
        Self { most: Cell::new(most), driver: RefCell::new(None), known: Cell::new(false) }
    }

    /// Takes what the endpoint's settings say, once they are known.
    pub(super) fn look(&self, most: usize) {
        if self.known.get() {
            self.most.set(most);
        }
    }

    /// An answer came, so the endpoint's settings did.
    pub(super) fn learn(&self) {
        if !self.known.replace(true)
            && let Some(driver) = self.driver.borrow_mut().take()
        {
            driver.wake();
        }
    }
}

/// A connection with room for a request.
#[derive(Debug)]
pub(super) enum Connection {
    H1(H1Connection),
    H2(Rc<H2Connection>),
}

impl Pool {
    /// A pool without connections.
    pub fn new(options: PoolOptions, clock: Rc<Clock>) -> Self {
        let resolver = Resolver::default();
        let shared = Rc::new(PoolShared { options, clock, resolver });
        Self { peers: RefCell::default(), shared }
    }

    /// The endpoint of that key.
    pub fn peer(&self, key: PeerKey) -> Rc<Peer> {
        let mut peers = self.peers.borrow_mut();
        if let Some(peer) = peers.get(&key) {
            return peer.clone();
        }
        let peer = Rc::new(Peer {
            key: key.clone(),
            in_flight: Cell::new(0),
            idle: RefCell::default(),
            streams: RefCell::default(),
            dialling: tokio::sync::Mutex::new(()),
            shared: self.shared.clone(),
        });
        peers.insert(key, peer.clone());
        peer
    }

    /// Closes what was idle for too long and forgets endpoints that no backend has any more.
    pub fn prune(&self) {
        let now = self.shared.clock.now();
        let limit = ticks(self.shared.options.idle_timeout);
        self.peers.borrow_mut().retain(|_, peer| {
            peer.prune(now, limit);
            Rc::strong_count(peer) > 1
        });
        self.shared.resolver.prune();
    }
}

impl Peer {
    /// What it is.
    pub fn key(&self) -> &PeerKey {
        &self.key
    }

    /// Requests without a complete answer.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    /// A pooled connection with room, the one used last first: it is the least likely to have been
    /// closed by the endpoint.
    pub(super) fn checkout(&self) -> Option<Connection> {
        match self.key.protocol {
            BackendProtocol::Http1 => self.checkout_h1().map(Connection::H1),
            BackendProtocol::H2c => self.checkout_h2().map(Connection::H2),
        }
    }

    fn checkout_h1(&self) -> Option<H1Connection> {
        let mut idle = self.idle.borrow_mut();
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            let sender = &idle[at].connection.sender;
            if sender.is_closed() {
                idle.remove(at);
            } else if sender.is_ready() {
                return idle.remove(at).map(|idle| idle.connection);
            }
        }
        None
    }

    pub(super) fn checkout_h2(&self) -> Option<Rc<H2Connection>> {
        let mut streams = self.streams.borrow_mut();
        streams.retain(|connection| !connection.sender.is_closed());
        streams
            .iter()
            .filter(|connection| {
                (connection.in_flight.get() as usize) < connection.streams.most.get()
            })
            .min_by_key(|connection| connection.in_flight.get())
            .cloned()
    }

    pub(super) fn add_h2(
        &self,
        sender: http2::SendRequest<RequestBody>,
        address: SocketAddr,
        streams: Rc<Streams>,
    ) -> Rc<H2Connection> {
        let connection = Rc::new(H2Connection {
            sender,
            address,
            in_flight: Cell::new(0),
            streams,
            idle_since: Cell::new(self.shared.clock.now()),
        });
        self.streams.borrow_mut().push(connection.clone());
        connection
    }

    fn checkin(&self, connection: H1Connection) {
        if !connection.sender.is_closed() {
            let since = self.shared.clock.now();
            self.idle.borrow_mut().push_back(Idle { connection, since });
        }
    }

    fn prune(&self, now: u32, limit: u32) {
        let old = |since: u32| now.wrapping_sub(since) > limit;
        self.idle
            .borrow_mut()
            .retain(|idle| !idle.connection.sender.is_closed() && !old(idle.since));
        self.streams.borrow_mut().retain(|connection| {
            let idle = connection.in_flight.get() == 0 && old(connection.idle_since.get());
            !connection.sender.is_closed() && !idle
        });
    }
}

/// A connection in use for one exchange. Dropping it ends the use; an HTTP/1.1 connection goes back
/// to the pool only where [`Lease::complete`] was called.
#[derive(Debug)]
pub struct Lease {
    peer: Rc<Peer>,
    connection: Option<Connection>,
    complete: bool,
}

impl Lease {
    pub(super) fn new(peer: &Rc<Peer>, connection: Connection) -> Self {
        peer.in_flight.set(peer.in_flight.get() + 1);
        if let Connection::H2(connection) = &connection {
            connection.in_flight.set(connection.in_flight.get() + 1);
        }
        Self { peer: peer.clone(), connection: Some(connection), complete: false }
    }

    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut()
    }

    /// Whether it speaks HTTP/2.
    pub(super) fn is_h2(&self) -> bool {
        matches!(self.connection, Some(Connection::H2(_)))
    }

    /// The head of an answer came.
    pub(super) fn answered(&self) {
        if let Some(Connection::H2(connection)) = &self.connection {
            connection.streams.learn();
        }
    }

    /// The endpoint's address.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.connection.as_ref()? {
            Connection::H1(connection) => Some(connection.address),
            Connection::H2(connection) => Some(connection.address),
        }
    }

    /// The answer was read to its end.
    pub fn complete(&mut self) {
        self.complete = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.peer.in_flight.set(self.peer.in_flight.get() - 1);
        match self.connection.take() {
            Some(Connection::H1(connection)) if self.complete => self.peer.checkin(connection),
            Some(Connection::H2(connection)) => {
                connection.in_flight.set(connection.in_flight.get() - 1);
                connection.idle_since.set(self.peer.shared.clock.now());
            }
            _ => {}
        }
    }
}
