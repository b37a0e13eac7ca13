//! What the API server has, as inputs of the core.
//!
//! Each kind has a watch of its own. Kinds that somebody has to install are watched as long as their
//! definition is there: one that appears later is picked up, and one that goes takes its objects with
//! it.

mod definitions;
mod follow;
mod kinds;

pub use definitions::watch;
pub use kinds::{plural, resource};
