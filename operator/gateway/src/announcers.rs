//! What is known about the nodes that can announce addresses.

use std::collections::BTreeSet;

/// The nodes that can announce addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Announcers {
    /// Those that are known to be ready.
    pub(crate) ready: BTreeSet<String>,
    /// Whether all others are known not to be: they had the time to say so.
    pub(crate) complete: bool,
}
