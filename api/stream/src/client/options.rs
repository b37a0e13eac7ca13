//! What a node process gives and gets.

use super::store::Store;
use crate::{Refused, Role};
use penstock_config::{
    Delta, Version,
    address::{NodeAddresses, Report},
};
use std::path::PathBuf;
use tokio::sync::{mpsc, watch};
use tracing::Span;

/// Where the operator is and who the node process is.
#[derive(Debug)]
pub struct ClientOptions {
    /// `https://HOST:PORT` of the operator's leader.
    pub endpoint: String,
    /// The name that the operator's certificate has.
    pub server_name: String,
    /// File with the operator's CA as PEM; read for each connection.
    pub ca: PathBuf,
    /// File with the ServiceAccount token; read for each connection.
    pub token: PathBuf,
    /// Name of the Node.
    pub node: String,
    /// Name of the pod.
    pub pod: String,
    /// What the node process is.
    pub role: Role,
    /// Where the last confirmed configuration is kept.
    pub store: Option<Store>,
    /// Where the addresses of the node's pods come from, and what is said of them.
    pub addresses: Option<AddressPort>,
    /// Told how the connection is.
    pub link: Option<watch::Sender<Link>>,
    /// Makes the span in which a change is applied the child of the operator's, which a `traceparent`
    /// names. Only called for a change that is traced.
    pub follow: fn(&Span, &str),
}

/// What an agent says of addresses and is told of them.
#[derive(Debug)]
pub struct AddressPort {
    /// The newest to say, at once and on each new connection.
    pub report: watch::Receiver<Report>,
    /// Takes what comes; in the order in which it came.
    pub told: mpsc::UnboundedSender<NodeAddresses>,
}

/// How the connection to the operator is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether there is one.
    pub connected: bool,
    /// The version that this node serves.
    pub version: Option<Version>,
    /// Whether that came from the store, and no operator has confirmed it since this process began.
    pub restored: bool,
    /// Why there is no connection.
    pub trouble: Option<String>,
}

/// The data plane.
pub trait Apply: Send + 'static {
    /// Applies a change as a whole and swaps to it; gives what serves then. What cannot be used is
    /// refused by name, the rest serves. May block; one call at a time.
    fn apply(&mut self, delta: &Delta) -> Applied;
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The version that serves now.
    pub version: Version,
    /// All that cannot be used of it, whenever it came.
    pub refused: Vec<Refused>,
}
