//! The rules of the stream without a socket and without a clock.

mod confirm;
mod convergence;
mod decoders;
mod given;
mod replica;
mod session;
