//! The report, kind of problem by kind of problem.

mod components;
mod fixtures;
mod objects;
mod pods;
mod whole;
