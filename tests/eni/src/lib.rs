//! A model of EC2's network interfaces, and a simulation that drives operator and agent against it.
//!
//! [`model`] does what EC2 documents of network interfaces, with its limits and errors; it has no
//! clock and no sockets; [`http`] puts it behind EC2's Query API, [`metadata`] tells instances what they
//! are, and [`vpc`] makes devices of interfaces. [`simulation`] runs operators and agents against it, with
//! pods that come and go, messages that are late, lost or repeated, calls without an answer and processes
//! that end at any point, and checks after each step what must never happen.

pub mod http;
pub mod metadata;
pub mod model;
pub mod simulation;
pub mod vpc;
