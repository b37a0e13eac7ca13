//! `penstock-operator`: watches the API server, tells the nodes, writes statuses.
//!
//! ```text
//! watch/  objects ─┐                      ┌─ Publish ──→ penstock-stream (nodes)
//! nodes   answers ─┼→ Inbox → core/ ──────┼─ Resolve ──→ modules (a thread of its own)
//! modules facts   ─┘   (engine: a thread) └─ writes ───→ write/ (the API server)
//! ```
//!
//! The decisions are in [`core`], a synchronous value. The rest carries its inputs and actions to and
//! fro. Two replicas do the same and keep their indexes warm; the one that holds the Lease
//! ([`lease`]) writes and serves the nodes.

pub mod addresses;
mod admin;
mod announcers;
pub mod args;
pub mod clock;
pub mod core;
pub mod engine;
mod fetching;
pub mod identity;
pub mod lease;
pub mod metrics;
mod modules;
pub mod names;
mod nodes;
mod operator;
mod preflight;
mod shutdown;
mod taints;
pub mod trust;
pub mod uninstall;
pub mod watch;
pub mod write;

pub use operator::{Listening, run, run_and_tell};
