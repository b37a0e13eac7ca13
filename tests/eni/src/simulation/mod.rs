//! Operators and agents, driven through everything that may go wrong.

mod check;
mod cloud;
mod operator;
mod pods;
mod script;
mod shrink;
mod world;

pub use check::Violation;
pub use cloud::{Cloud, FIRST, InMemory, VPC};
pub use script::{Move, Script, ScriptError, Step};
pub use shrink::shrink;
pub use world::{Summary, run, run_on};
