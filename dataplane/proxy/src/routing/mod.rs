//! Which rule a request belongs to. Pure: values in, values out.
//!
//! A [`RouteTable`] serves one port. A request belongs to the single most specific listener for its
//! host (Gateway API v1.6.1, listener isolation): where that one has no rule there is no other. Of
//! the rules of the listener, those of the most specific hostname are tried first, then those of
//! less specific ones; within a hostname the order is [`penstock_config::Precedence`].
//!
//! Looking up costs one hash for each label of the host that a wildcard could begin at, one for an
//! exact path, and one for each depth at which a prefix exists; not more with more routes.

mod condition;
mod hosts;
mod path;
mod table;

pub use condition::{Condition, PatternError, compile_pattern, percent_decode, query_param};
pub use hosts::{HostMap, HostName};
pub use path::{PathIndex, PathRule, RuleMatch};
pub use table::{Hit, ListenerGroup, RouteTable, RuleChange, TableError};

use http::{HeaderMap, Method};

/// What of a request decides its route.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Method as sent.
    pub method: &'a Method,
    /// Path of the request target, percent-encoding kept.
    pub path: &'a str,
    /// Query without `?`.
    pub query: Option<&'a str>,
    /// Request fields.
    pub headers: &'a HeaderMap,
}
