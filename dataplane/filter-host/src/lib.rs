//! Runs policies that are WASM components: plans, instances, limits.
mod decision;
mod error;
mod outcome;
mod plan;
mod selector;
mod tls;

pub use decision::{Edit, HeaderDecision, PathChange, PathDecision, Redirect, Response, Rewrite};
pub use error::{HostError, ModuleError, PrepareError, Problem};
pub use outcome::{FilterFailure, Outcome, SpanNotes, SpanValue, Tier, Verdict};
pub use plan::{MemoPlan, Plan, Stage, WriteSet};
pub use selector::{Exchange, Predicate, Selector};
pub use tls::{
    Alert, ClientAuth, ClientHello, HelloDecision, PeerCertificate, PeerDecision, San, Terms,
    TlsPlan,
};
