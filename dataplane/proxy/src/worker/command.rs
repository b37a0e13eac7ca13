//! What a worker is told.

use super::Bound;
use crate::{snapshot::Snapshot, tls::Refusal};
use std::{
    net::TcpListener,
    sync::{Arc, mpsc::Sender},
    time::Duration,
};

/// What a worker is told.
#[derive(Debug)]
pub enum Command {
    /// Make policies and connections' places for a snapshot ready, beside what serves.
    Prepare {
        /// The snapshot.
        snapshot: Arc<Snapshot>,
        /// Where to say what could not be prepared.
        done: Sender<Prepared>,
    },
    /// Serve what was prepared, on these sockets.
    Commit {
        /// New sockets of this worker.
        open: Vec<(Bound, TcpListener)>,
        /// Sockets that are no longer served.
        close: Vec<Bound>,
        /// Where to say so.
        done: Sender<Committed>,
    },
    /// Accept on sockets that the agent handed over, and no longer on others.
    Steer {
        /// New sockets of this worker.
        open: Vec<(u16, TcpListener)>,
        /// Sockets that get no new connections.
        close: Vec<u16>,
        /// Where to say so.
        done: Sender<Committed>,
    },
    /// End: no new connections, the others after their requests, at the latest after this time.
    Drain(Duration),
}

/// A worker has prepared a snapshot.
#[derive(Debug)]
pub struct Prepared {
    /// What could not be prepared: its steps answer 500.
    pub refused: Vec<Refusal>,
}

/// A worker serves what it prepared.
#[derive(Debug)]
pub struct Committed;
