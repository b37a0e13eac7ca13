//! Finds out what is behind the module of a `WasmFilter`: fetches it, compiles it, loads it into
//! the filter host and has its configuration checked.
//!
//! [`Modules::resolve`] blocks for as long as a compilation takes (a tenth of a second to a few), so
//! it is called on a thread that serves nobody. What it found out is a value,
//! [`FilterFacts`](penstock_gateway::FilterFacts), that enters the index like an object does.
//! Modules come from files (standalone), ConfigMaps, and what a [`Fetcher`] brought from registries
//! and web servers, whose waiting is asynchronous. A [`Compiler`] makes code of them: in this process
//! (standalone), or in one of its own without credentials and with limits ([`ChildCompiler`]).

mod compile;
mod failure;
mod modules;
mod remote;
mod source;
mod summary;

pub use compile::{ChildCompiler, CompileLimits, Compiler, compile_and_exit};
pub use failure::Failure;
pub use modules::{Modules, Resolution};
pub use remote::{Access, FetchOptions, Fetcher, Patience, Reach, is_remote};
pub use source::{Sources, read_file};

/// Bytes that a module may have unless the caller says otherwise: 16 MiB.
pub const DEFAULT_MAX_BYTES: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests;
