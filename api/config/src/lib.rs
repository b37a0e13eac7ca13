//! What nodes are told: listeners, route rules, filters, backends and endpoints as values.
//!
//! Every resource is small, has a [`Key`] that says what it is (never where it stands), and points
//! up to its parent: a rule names the listeners it is attached to, an endpoint set names its
//! backend. So one changed HTTPRoute rule is one changed resource. A resource's [`Version`] is a hash of
//! its content, equal on every replica that translated the same input.
//!
//! [`State`] holds a whole configuration, [`State::diff`] makes the [`Delta`] between two, and
//! [`State::apply`] is what a node does with one. The standalone gateway uses the same path.
//!
//! The values are protobuf messages (`prost`) with field numbers that are never reused. This crate
//! knows no Kubernetes and no runtime.

pub mod address;
mod backend;
mod filter;
mod frontend;
mod key;
mod listener;
mod parents;
mod precedence;
mod resource;
mod rule;
mod shared_map;
mod state;

pub use backend::{Backend, BackendProtocol, Endpoint, Endpoints};
pub use filter::{Filter, OnFailure, OpaqueValues, PolicyKind, Withdrawn, short_digest};
pub use frontend::{Frontend, TARGET_PORTS};
pub use key::{Key, Kind};
pub use listener::{
    Certificate, ClientValidation, Gateway, Limits, Listener, ListenerProtocol, TlsBinding,
    TlsProfile, TlsVersion, ValidationMode,
};
pub use precedence::{HostPrecedence, Precedence};
pub use resource::{Resource, ResourceKind, Version, Versioned};
pub use rule::{
    Attachment, BackendChoice, Failure, Header, HeaderEdit, HttpMatch, PathEdit, PathMatch,
    Redirect, Rewrite, Rule, Step, StepAction, ValueMatch, ValueTest,
};
pub use shared_map::{Difference, Iter as SharedMapIter, MapKey, SharedMap, ends_chunk};
pub use state::{ApplyError, Delta, State};
