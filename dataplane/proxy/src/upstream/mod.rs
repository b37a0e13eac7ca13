//! Connections to endpoints, each worker's own.
//!
//! A [`Pool`] keeps one [`Peer`] for each address and protocol, whichever backends it belongs to.
//! HTTP/1.1 connections go back to their peer when the answer was read to its end; HTTP/2
//! connections are shared, and a further one is made where their streams are used up.
//!
//! An idle connection can be closed by the endpoint at any moment. A request that meets this is sent
//! again, once, on a fresh connection, where nothing of it can have been acted upon: it was not
//! written, or its method is idempotent, it has no body and no byte of an answer came (RFC 9112,
//! section 9.3.1).

mod balance;
mod body;
mod connect;
mod peer;
mod resolve;
mod send;

pub use balance::{BackendPool, Split, only};
pub use body::{BodyError, BodyProgress, RequestBody};
pub use peer::{Lease, Peer, PeerKey, Pool, PoolOptions};
pub use resolve::Resolver;
pub use send::{Failure, Outgoing, send};
