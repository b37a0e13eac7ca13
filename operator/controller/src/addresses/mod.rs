//! Addresses of nodes: what EC2 has, what nodes need, and the calls between the two.
//!
//! Everything is decided by `penstock-eni`: its desk is told what happens to Nodes, what agents report
//! and what EC2 answers, and says what to do. Here is what connects it with them, while this replica
//! leads: each time it begins to, in a new term and with a new desk.

mod calls;
mod drive;
mod instance;
mod metrics;
mod options;
mod preflight;
mod publish;
mod status;

pub use metrics::AddressMetrics;
pub use options::{AddressOptions, OptionsError};
pub use preflight::{Preflight, preflight};

pub(crate) use drive::{Lead, drive};
