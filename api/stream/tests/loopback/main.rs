//! Operator and nodes on TLS sockets of this machine.

mod addresses;
mod failover;
mod hostile;
mod modules;
mod node;
mod operator;
mod plane;
mod raw;
mod serving;
mod slow;
mod store;
mod trust;
