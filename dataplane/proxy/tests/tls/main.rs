//! TLS of a port, by real clients over real sockets.

mod client;
mod client_auth;
mod fake;
mod hostile;
mod names;
mod policies;
mod resumption;
mod rig;
mod rotation;
