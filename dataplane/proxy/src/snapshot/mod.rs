//! A configuration compiled for requests: immutable, shared by all workers.
//!
//! [`Snapshot::build`] makes one from a [`State`] beside the snapshot that serves. Everything a
//! request needs is resolved here once: header names and values, patterns, the place of each
//! backend and filter. What belongs to one worker (policies, connections, weights in progress) is
//! added by its [`View`](crate::worker::View).

mod backend;
mod build;
mod port;
mod program;
mod rule;

pub use backend::{Backend, Host};
pub use build::Context;
pub(crate) use build::prepare_reason;
pub use port::{ListenerInfo, Port, Settings};
pub use program::{PolicyStep, Program, RequestAction, RequestStep, ResponseAction, ResponseStep};
pub use rule::{Choice, RouteRule};

use crate::telemetry::{FilterCells, Series};
use penstock_config::{Filter, State, Version};
use penstock_filter_host::Plan;
use std::sync::Arc;

/// A configuration compiled for requests.
#[derive(Debug)]
pub struct Snapshot {
    /// Version of the configuration.
    pub version: Version,
    /// The configuration itself.
    pub state: Arc<State>,
    /// Ports by number as the client dials it.
    pub ports: hashbrown::HashMap<u32, Arc<Port>>,
    /// Rules, by the index that a port's table gives.
    pub rules: Vec<RouteRule>,
    /// Filters, by the index that steps give.
    pub filters: Vec<FilterSlot>,
    /// Backends, by the index that choices give.
    pub backends: Vec<Backend>,
}

/// A filter of a snapshot.
#[derive(Clone, Debug)]
pub struct FilterSlot {
    /// `namespace/name`.
    pub name: Arc<str>,
    /// Hash of its configuration.
    pub version: Version,
    /// Its configuration.
    pub config: Arc<Filter>,
    /// What it declared; absent where it cannot be prepared: its steps then answer 500.
    pub plan: Option<Arc<Plan>>,
    /// Its metrics.
    pub cells: Arc<Series<FilterCells>>,
}

impl Snapshot {
    /// A snapshot that serves nothing.
    pub fn empty() -> Self {
        let state = State::default();
        Self {
            version: state.version(),
            state: Arc::new(state),
            ports: Default::default(),
            rules: Vec::new(),
            filters: Vec::new(),
            backends: Vec::new(),
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
}
