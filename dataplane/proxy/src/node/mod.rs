//! The proxy as a node process of a cluster: configuration from the operator's stream, modules that
//! the operator compiled and signed, listening sockets from the agent.
//!
//! Three threads beside the workers: the stream (which applies one change at a time), the handover,
//! and the admin port. None of them is on the path of a request.

pub mod args;
mod handover;
mod health;
mod modules;
mod run;
mod serve;

pub use handover::Handover;
pub use health::Health;
pub use modules::SignedModules;
pub use run::run;
pub use serve::Serve;
