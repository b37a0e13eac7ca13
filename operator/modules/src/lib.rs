//! Finds out what is behind the module of a `WasmFilter`: fetches it, compiles it, loads it into
//! the filter host and has its configuration checked.
//!
//! [`Modules::resolve`] blocks for as long as a compilation takes (a tenth of a second to a few), so
//! it is called on a thread that serves nobody. What it found out is a value,
//! [`FilterFacts`](penstock_gateway::FilterFacts), that enters the index like an object does.
//! Modules come from files (standalone) and ConfigMaps; other sources are refused by name.

mod failure;
mod modules;
mod source;
mod summary;

pub use failure::Failure;
pub use modules::{Modules, Resolution};
pub use source::{Sources, read_file};

/// Bytes that a module may have unless the caller says otherwise: 16 MiB.
pub const DEFAULT_MAX_BYTES: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests;
