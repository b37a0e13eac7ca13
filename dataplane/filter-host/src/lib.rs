//! Runs policies that are WASM components: plans, instances, limits.
//!
//! A [`Host`] holds the engine and the modules of a process; each proxy thread has a [`Worker`] with
//! live instances of its own. What a policy may see, change and cost is decided here:
//!
//! 1. [`Host::compile`] checks a component (world, imports) and asks it what it is, without any
//!    capability. [`Host::load`] makes it available by digest.
//! 2. [`Host::check`] tries a `WasmFilter`: grants against imports, configuration against the schema,
//!    `configure`, [`Plan`].
//! 3. [`Worker::prepare`] makes the policy ready on one thread: a live instance shared by all
//!    policies of the same module, namespace, grants and limits, and a configured spare.
//! 4. [`Worker::on_request`] and its siblings decide. Guards, constants and remembered decisions
//!    need no call and no allocation ([`Tier`]); the rest is one call in and one result out, with a
//!    deadline and a memory limit. A decision applies as a whole or not at all.
//!
//! A fault keeps the instance. A trap, an exceeded deadline or refused memory discards it; the spare
//! takes over. A filter that keeps losing instances is quarantined.

mod artifact;
mod bindings;
mod breaker;
mod capabilities;
#[cfg(feature = "compile")]
mod compile;
mod convert;
mod decision;
mod engine;
mod error;
mod grants;
mod host;
mod inputs;
mod inspect;
mod instance;
mod memo;
mod module;
mod outcome;
mod plan;
#[cfg(feature = "compile")]
mod schema;
mod selector;
mod series;
pub mod signature;
mod slot;
mod stats;
mod steps;
mod store;
mod ticker;
mod tls;
mod worker;

pub use decision::{Edit, HeaderDecision, PathChange, PathDecision, Redirect, Response, Rewrite};
pub use engine::{HostConfig, QuarantineConfig};
pub use error::{HostError, ModuleError, PrepareError, Problem};
pub use host::Host;
pub use module::{CompiledModule, Descriptor, ModuleInfo, digest};
pub use outcome::{FilterFailure, Outcome, SpanNotes, SpanValue, Tier, Verdict};
pub use plan::{MemoPlan, Plan, Stage, WriteSet};
pub use selector::{Exchange, Predicate, Selector};
pub use series::{UserSeries, UserValue};
pub use stats::{CALL_TIME_BOUNDS, FilterStats};
pub use tls::{
    Alert, Attributes, ClientAuth, ClientHello, HelloDecision, PeerCertificate, PeerDecision, San,
    Terms, TlsPlan,
};
pub use worker::{Policy, Worker};
