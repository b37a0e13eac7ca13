//! What a pool needs after a restart.

use crate::owner::{Granted, Owner};
use penstock_config::address::{Epoch, Held, NodeAddresses, Verdict};
use std::collections::BTreeMap;

/// What a pool needs after a restart: all that it promised to somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The newest that the node was told.
    pub told: NodeAddresses,
    /// Which pod has which address.
    pub pods: BTreeMap<Owner, Granted>,
    /// What was answered to proposals. What is [`Verdict::Fenced`] is nobody's.
    pub verdicts: BTreeMap<Held, (Epoch, Verdict)>,
}
