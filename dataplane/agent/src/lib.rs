//! The node agent: keeps the listening sockets that outlive proxies.

mod listening;
mod roster;

pub use listening::{Listening, SocketError};
pub use roster::{Action, Event, MAX_WORKERS, ProxyId, Roster};
