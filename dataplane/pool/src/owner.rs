//! Who has an address, and of what it is.

use penstock_config::address::Held;
use std::{fmt, net::Ipv4Addr};

/// Who has an address: an interface of a pod's sandbox (CNI specification, section 2:
/// `CNI_CONTAINERID` and `CNI_IFNAME`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The sandbox.
    pub container: String,
    /// The device in it.
    pub device: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.device, self.container)
    }
}

/// An address for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The address.
    pub address: Ipv4Addr,
    /// The unit that it is one of; the pod's packets leave by that one's interface.
    pub of: Held,
}
