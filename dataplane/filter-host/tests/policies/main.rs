//! Policies from source, in real instances.

#[path = "../support/mod.rs"]
mod support;

mod capabilities;
mod checks;
mod decisions;
mod failures;
mod isolation;
mod memo;
mod modules;
mod quarantine;
mod replacement;
mod tls;
