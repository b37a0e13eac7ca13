//! A configuration compiled for requests: immutable, shared by all workers.
//!
//! [`Snapshot::build`] makes one from a [`State`] beside the snapshot that serves. Everything a
//! request needs is resolved here once: header names and values, patterns, the place of each
//! backend and filter. What belongs to one worker (policies, connections, weights in progress) is
//! added by its [`View`](crate::worker::View).

mod backend;
mod build;
mod filter;
mod frontend;
mod port;
mod program;
mod rule;
mod slots;

pub use backend::{Backend, Host};
pub use build::Context;
pub(crate) use filter::refusal;
pub use filter::{FilterSlot, Unprepared};
pub use frontend::Frontends;
pub use port::{ListenerInfo, Port, Settings};
pub use program::{PolicyStep, Program, RequestAction, RequestStep, ResponseAction, ResponseStep};
pub use rule::{Choice, RouteRule};
pub use slots::Slots;

use crate::tls::{Refusal, TlsSession};
use penstock_config::{Key, SharedMap, State, Version};
use std::sync::Arc;

/// A configuration compiled for requests.
#[derive(Debug)]
pub struct Snapshot {
    /// Version of the configuration.
    pub version: Version,
    /// The configuration itself.
    pub state: Arc<State>,
    /// Ports by serving port.
    pub ports: hashbrown::HashMap<u32, Arc<Port>>,
    /// The ways in, for sockets that serve all ports.
    pub frontends: Frontends,
    /// Rules, by the index that a port's table gives.
    pub rules: Slots<RouteRule>,
    /// Filters, by the index that steps give.
    pub filters: Vec<FilterSlot>,
    /// Backends, by the index that choices give.
    pub backends: Slots<Backend>,
    /// What of the steps of a rule cannot be served, by the rule.
    refused: SharedMap<Key, Arc<[Refusal]>>,
}

impl Snapshot {
    /// A snapshot that serves nothing.
    pub fn empty() -> Self {
        let state = State::default();
        Self {
            version: state.version(),
            state: Arc::new(state),
            ports: Default::default(),
            frontends: Frontends::default(),
            rules: Slots::default(),
            filters: Vec::new(),
            backends: Slots::default(),
            refused: SharedMap::default(),
        }
    }

    /// The filter of that name.
    pub fn filter(&self, name: &str) -> Option<(usize, &FilterSlot)> {
        // Sorted: they come from the state in the order of their keys.
        let index = self.filters.binary_search_by(|slot| (*slot.name).cmp(name)).ok()?;
        Some((index, &self.filters[index]))
    }

    /// The version of the filter of that name.
    pub fn filter_version(&self, name: &str) -> Option<Version> {
        self.filter(name).map(|(_, slot)| slot.version)
    }

    /// Whether an earlier handshake on a serving port still counts: where not, requests for its
    /// server name are answered 421.
    pub fn admits(&self, port: u32, session: &TlsSession) -> bool {
        let current = |filter: &str| self.filter_version(filter);
        match self.ports.get(&port).and_then(|port| port.tls.as_deref()) {
            Some(tls) => tls.admits(session, current),
            // What becomes of the connections of a port that is gone is not a matter of policies.
            None => true,
        }
    }
}
