//! Which replica writes: it holds a Lease (`coordination.k8s.io`).

mod elect;
mod election;

pub use elect::{ElectOptions, elect};
pub use election::Timing;
