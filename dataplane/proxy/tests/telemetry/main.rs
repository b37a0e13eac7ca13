//! Traces, metrics and the admin port of a whole proxy, seen from outside.

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod child;
mod receiver;
mod traces;
