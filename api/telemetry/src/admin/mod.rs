//! The port for operators and their tools: health, metrics and the configuration in effect.
//!
//! It runs on a thread of its own, so that it answers while the process is busy, and knows the
//! process only as an [`AdminSource`]. It has no authentication: bind it to an address that only
//! operators reach. What it shows holds no secret.

mod dump;
mod server;
mod source;

pub use dump::dump;
pub use server::AdminServer;
pub use source::AdminSource;
