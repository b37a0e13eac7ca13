//! What is said between plugin and agent: one line of JSON each way on a connection of a Unix socket.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// Where the agent listens.
pub const SOCKET: &str = "/run/penstock/cni.sock";

/// Bytes of a line that are read: a node with 1,000 sandboxes names them in less.
pub const MOST: usize = 1 << 20;

/// Who has an address: a device in a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_IFNAME`.
    pub device: String,
}

/// What the plugin asks. A field that this version does not know is an error: nothing is done by half.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// An address; the same one when it is asked again.
    Add {
        /// For whom.
        #[serde(rename = "for")]
        attachment: Attachment,
        /// `namespace/name` of the pod, for the log; empty where the runtime does not say.
        #[serde(default)]
        pod: String,
    },
    /// The wire is gone.
    Del {
        /// Whose.
        #[serde(rename = "for")]
        attachment: Attachment,
    },
    /// Which address somebody has.
    Check {
        /// Who.
        #[serde(rename = "for")]
        attachment: Attachment,
    },
    /// All that there are: others have nothing any more.
    Gc {
        /// All.
        valid: Vec<Attachment>,
    },
    /// Whether an address could be given now.
    Status,
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// An address.
    Granted {
        /// The address.
        address: Ipv4Addr,
        /// The longest packet of its interface.
        mtu: u32,
    },
    /// It is so now.
    Done,
    /// It cannot be.
    Refused {
        /// Of the specification, section 5 "Error".
        code: u32,
        /// Cause and remedy.
        message: String,
    },
}
