//! Operators and agents, driven through everything that may go wrong.

mod check;
mod cloud;
mod operator;
mod over_http;
mod pods;
mod script;
mod shrink;
mod world;

pub use check::Violation;
pub use cloud::{Cloud, FIRST, InMemory, VPC};
pub use over_http::OverHttp;
pub use script::{Move, Script, ScriptError, Step};
pub use shrink::shrink;
pub use world::{Summary, run, run_on};
