//! What agent and proxy say to each other.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// From the proxy to the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ToAgent {
    /// The first message.
    #[serde(rename_all = "camelCase")]
    Hello {
        /// Name of the pod, for logs and the status.
        pod: String,
        /// Addresses of the pod: what is sent there, to a target port, is steered too.
        addresses: Vec<IpAddr>,
        /// How many workers there are. The agent makes as many sockets.
        workers: usize,
        /// The sockets attached to this message, from an agent that has ended.
        sockets: Vec<Socket>,
    },
    /// A configuration serves, and every socket of the last [`ToProxy::Sockets`] is accepted on.
    Serving,
    /// The proxy drains: it accepts nothing more.
    Leaving,
}

/// From the agent to the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ToProxy {
    /// All sockets to accept on, in the order of the workers; attached to this message. One that is
    /// held already and is not here any more gets no new connections: what waits in it is accepted,
    /// then it is closed.
    Sockets(Vec<Socket>),
    /// The agent will not deal with this proxy.
    Refused {
        /// Cause and remedy in words.
        message: String,
    },
}

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Socket {
    /// The port it is bound to, unique on the node: the name of the socket. No client dials it.
    pub port: u16,
}
