//! The node agent: keeps the listening sockets that outlive proxies.

mod roster;

pub use roster::{Action, Event, MAX_WORKERS, ProxyId, Roster};
