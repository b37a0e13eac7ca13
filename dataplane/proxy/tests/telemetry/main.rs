//! Traces and metrics of a whole proxy, seen from outside.

#[path = "../support/mod.rs"]
mod support;

mod child;
mod receiver;
mod traces;
