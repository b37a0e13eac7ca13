//! What goes into the core and what comes out of it.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use penstock_config::{State, Version};
use penstock_gateway::{Confirmation, FilterFacts, Name};
use penstock_resources::{Kind, Object, ObjectId, WasmFilter};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::status::{Observed, Status};

/// The time, as the caller reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For statuses and certificates.
    pub wall: Timestamp,
    /// For waits: since the process started.
    pub since_start: Duration,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Which of our kinds' definitions are installed, and in which release those of the Gateway API
    /// are. Kinds that need no definition are not named.
    Definitions {
        /// The kinds.
        installed: BTreeSet<Kind>,
        /// Annotation `gateway.networking.k8s.io/bundle-version` of the Gateway API's definitions.
        bundle_version: Option<String>,
    },
    /// A complete list of a kind begins: what it does not name is gone.
    ListBegins(Kind),
    /// An object of the list.
    Listed(Object),
    /// The list is complete.
    ListEnds(Kind),
    /// An object is new or changed.
    Applied(Object),
    /// An object is gone.
    Removed(ObjectId),
    /// Whether this replica is the one that writes.
    Leading(bool),
    /// What the nodes say.
    Fleet(FleetView),
    /// What was found out about a filter.
    Facts {
        /// Which filter.
        filter: Name,
        /// What was asked about.
        asked: Revision,
        /// What was found out.
        facts: FilterFacts,
    },
    /// A status was written, or could not be.
    Wrote {
        /// Of which object.
        id: ObjectId,
        /// What the API server has now.
        result: Result<Observed, WriteError>,
    },
    /// A Service was applied or deleted, or could not be.
    Serviced {
        /// Which one.
        name: Name,
        /// What the API server has now; `None`: it was deleted.
        result: Result<Option<Box<Service>>, WriteError>,
    },
}

/// What the nodes say about one configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FleetView {
    /// The configuration that this speaks of.
    pub version: Option<Version>,
    /// What they answered.
    pub confirmation: Confirmation,
    /// How many proxies count.
    pub members: usize,
    /// Nodes that can announce addresses.
    pub announcers: BTreeSet<String>,
    /// Whether the absence of proxies means nothing, since none could prove who it is lately.
    pub blind: bool,
}

/// Why something could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The object does not exist any more.
    Gone,
    /// The API server did not take it, or could not be reached; later it may.
    Refused,
}

/// What a filter was when its module was asked about: another answer is of another time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// `metadata.uid` and `metadata.generation` of the filter.
    pub filter: (String, i64),
    /// `metadata.resourceVersion` of the ConfigMap that it names.
    pub config_map: Option<String>,
    /// Counts repeated questions.
    pub attempt: u32,
}

/// A filter whose module somebody has to look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// To be handed back.
    pub revision: Revision,
    /// The filter.
    pub filter: Arc<WasmFilter>,
    /// The ConfigMap that it names.
    pub config_map: Option<Box<ConfigMap>>,
}

/// Modules that are in use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InUse {
    /// All filters.
    pub filters: Vec<Arc<WasmFilter>>,
    /// Digests of modules that serve on, whatever the filters name now.
    pub serving: BTreeSet<String>,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The nodes have to be told.
    Publish(Version, Arc<State>),
    /// Modules have to be looked at.
    Resolve(Vec<Question>),
    /// Modules that are not in use can be let go.
    Retain(InUse),
    /// A status has to be written.
    WriteStatus(StatusWrite),
    /// A Service has to be made or changed.
    ApplyService(Box<Service>),
    /// A Service has to go.
    DeleteService(Name),
    /// A person has to be told.
    Tell(Notice),
}

/// A status to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusWrite {
    /// Of which object.
    pub id: ObjectId,
    /// What the API server has, as far as is known.
    pub observed: Observed,
    /// What it should say: to be merged into what is there.
    pub wanted: Status,
}

/// An event at an object, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The object.
    pub id: ObjectId,
    /// Its `metadata.uid`.
    pub uid: String,
    /// Whether something is wrong.
    pub warning: bool,
    /// Bounded.
    pub reason: String,
    /// Cause and remedy.
    pub message: String,
}

/// What there is to do, and when to look again without an input.
#[derive(Debug, Default)]
pub struct Settled {
    /// In this order.
    pub actions: Vec<Action>,
    /// Time since the start of the process.
    pub wake: Option<Duration>,
    /// Why nothing is done yet: kinds whose lists are not complete.
    pub waiting_for: Vec<Kind>,
}

/// Objects that carry what is needed to be found again.
pub(crate) type ByName<T> = BTreeMap<Name, T>;
