//! Addresses of pods: what a node is told of its interfaces, and what it says of their use.
//!
//! A network interface (ENI) brings addresses in [`Unit`]s: single secondary addresses, and blocks of
//! sixteen. A unit is given back in two phases: the operator proposes it with an [`Epoch`], the node
//! confirms that nobody uses it and fences it, and only then does the operator unassign it. A word of
//! an older epoch counts for nothing, however late it comes.

mod interface;
mod report;
mod unit;
pub mod wire;

pub use interface::{Interface, NodeAddresses, Proposal};
pub use report::{Report, Verdict};
pub use unit::{
    BLOCK_SIZE, Block, BlockError, Epoch, Held, HeldError, InterfaceId, Unit, UnitError,
};
