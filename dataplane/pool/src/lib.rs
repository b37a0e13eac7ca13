//! Which pod of a node has which address.
//!
//! A [`Pool`] holds what the node was told of its interfaces and gives their addresses to pods, at
//! once and without asking anybody. It reads no clock and touches no disk: whoever drives it writes
//! its [`Kept`] down before anything that follows from a change leaves the process, and begins with
//! it after a restart.
//!
//! What the operator asks back is fenced: nobody uses it, and nobody gets it until the proposal is
//! withdrawn. A fence of an earlier leader's proposal is never lifted, since that leader's call may be
//! on its way; the new leader hears of it and brings it to its end.

mod fence;
mod kept;
mod owner;
mod pool;

pub use kept::Kept;
pub use owner::{Granted, Owner};
pub use pool::{NoAddress, Pool};
