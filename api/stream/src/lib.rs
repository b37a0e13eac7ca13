//! The delta stream between operator and nodes, and what nodes report back.
//!
//! A node opens one stream to the operator that holds the lease, says who it is and what it has
//! ([`wire::Hello`]), and is sent the difference ([`wire::Update`]). It applies an update as a whole,
//! and only then answers with what it could not use ([`wire::Answer`]). One update is under way at a
//! time; what changes meanwhile is in the next one. So a slow node costs the operator no memory, and
//! a broken connection costs a node nothing that it has.
//!
//! The rules are pure and have no clock: [`Session`] is the operator's side of one stream,
//! [`Replica`] the node's, [`Members`] what is known about all nodes, [`confirmation`] what follows
//! for a status. The features `server` and `client` put them on TLS sockets.
//!
//! | pure | on sockets |
//! |---|---|
//! | [`scope`]: what a role is told | `Fleet`: publish, views of the nodes |
//! | [`Session`]: one stream at the operator | `router`, `Authenticate`, `Artifacts` |
//! | [`Replica`]: one stream at the node | `run`, `Apply`, `LoadModules`, `Store` |

mod confirm;
mod members;
mod published;
mod refused;
mod replica;
mod role;
mod session;
mod violation;
pub mod wire;

#[cfg(feature = "client")]
#[expect(
    clippy::disallowed_methods,
    reason = "runs on a runtime of its own, never on a proxy's worker: its tasks may go to any thread"
)]
mod client;
#[cfg(feature = "rpc")]
mod codec;
#[cfg(feature = "server")]
#[expect(
    clippy::disallowed_methods,
    reason = "runs on a runtime of its own, never on a proxy's worker: its tasks may go to any thread"
)]
mod server;
#[cfg(feature = "rpc")]
mod tls;

#[cfg(feature = "client")]
pub use client::{
    AddressPort, Applied, Apply, ClientOptions, Link, LoadModules, Store, StoreError, run,
};
pub use confirm::{Confirmation, confirmation, next_silence};
pub use members::{Identity, Members, NodeView, SILENCE, StreamId};
pub use published::{Published, scope};
pub use refused::Refused;
pub use replica::{Change, Replica, ReplicaError};
pub use role::Role;
#[cfg(feature = "server")]
pub use server::{
    ArtifactError, Artifacts, AuthError, Authenticate, Fleet, Mailboxes, Router, ServeError,
    ServeOptions, router,
};
pub use session::{Push, Session};
#[cfg(feature = "rpc")]
pub use tls::{TlsError, client_config, server_config};
pub use violation::Violation;
